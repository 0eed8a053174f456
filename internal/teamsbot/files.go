package teamsbot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	uploadTimeout      = 2 * time.Minute
	consentContentType = "application/vnd.microsoft.teams.card.file.consent"
	infoContentType    = "application/vnd.microsoft.teams.card.file.info"
)

// keptFile waits for its reader's consent.
type keptFile struct {
	file  chat.File
	owner string // principal key: nobody else may take it
}

// fileNotes say where each file is; place holds one %s for the name.
func fileNotes(files []chat.File, place string) []object {
	var out []object
	for _, f := range files {
		out = append(out, cutLine(place, f.Name+" ("+size(len(f.Content))+")"))
	}
	return out
}

func size(n int) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%d KB", n>>10)
	default:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
}

// offerFiles asks person, in the personal chat, where to save the files. Teams
// lets a bot send files only there and only with consent.
func (b *Bot) offerFiles(ctx context.Context, person identity.Principal, files []chat.File) bool {
	if len(files) == 0 {
		return true
	}
	to, err := b.personalChat(ctx, person)
	if err != nil {
		b.log.WarnContext(ctx, "file not offered", "tenant_id", person.Workspace, "error", err)
		return false
	}
	all := true
	for _, f := range files {
		if err := b.offer(ctx, to, person, f); err != nil {
			b.log.WarnContext(ctx, "file not offered", "tenant_id", person.Workspace, "conversation_id", to.ID, "error", err)
			all = false
		}
	}
	return all
}

func (b *Bot) offer(ctx context.Context, to chat.Conversation, person identity.Principal, f chat.File) error {
	key, ok := b.files.put(keptFile{file: f, owner: person.Key()}, len(f.Content))
	if !ok {
		return errors.New("file is too large to keep")
	}
	back := object{"file": key}
	_, err := b.sendAttachment(ctx, to, f.Name, object{
		"contentType": consentContentType, "name": f.Name,
		"content": object{
			"description": "Result of your question", "sizeInBytes": len(f.Content),
			"acceptContext": back, "declineContext": back,
		},
	})
	if err != nil {
		b.files.drop(key)
	}
	return err
}

// consent is the value of a fileConsent/invoke.
type consent struct {
	Action  string `json:"action"`
	Context struct {
		File string `json:"file"`
	} `json:"context"`
	UploadInfo uploadInfo `json:"uploadInfo"`
}

type uploadInfo struct {
	UploadURL  string `json:"uploadUrl"`
	ContentURL string `json:"contentUrl"`
	Name       string `json:"name"`
	UniqueID   string `json:"uniqueId"`
	FileType   string `json:"fileType"`
}

// onFileConsent takes the answer to an offer. The context comes back unsigned, so
// it is only a key, and only the person to whom the file was offered may use it.
func (b *Bot) onFileConsent(w http.ResponseWriter, r *http.Request, a activity, by identity.Principal) {
	var c consent
	if json.Unmarshal(a.Value, &c) != nil {
		b.refuse(w, r, &refusal{http.StatusBadRequest, "file consent cannot be read"})
		return
	}
	if !b.seen.first(a.delivery()) {
		respond(w, object{})
		return
	}
	accepted := b.tasks.start(func(ctx context.Context) {
		if err := b.settleConsent(ctx, a, by, c); err != nil {
			b.log.WarnContext(ctx, "file not sent", "tenant_id", a.tenant, "conversation_id", a.Conversation.ID, "error", err)
		}
	})
	if !accepted {
		b.seen.forget(a.delivery())
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	respond(w, object{})
}

func (b *Bot) settleConsent(ctx context.Context, a activity, by identity.Principal, c consent) error {
	kept, ok := b.files.get(c.Context.File)
	if !ok || kept.owner != by.Key() || !a.in().Direct {
		m := chat.Message{Title: chat.Plain("This file is no longer here; ask again to get a new one.")}
		_, err := b.send(ctx, a.in(), summary(m), card(m))
		return err
	}
	if c.Action == "accept" {
		if err := b.upload(ctx, c.UploadInfo.UploadURL, kept.file); err != nil {
			m := chat.Message{Tone: chat.Warning, Title: chat.Plain("The file could not be saved; you can try again from the message above.")}
			_, err2 := b.send(ctx, a.in(), summary(m), card(m))
			return errors.Join(err, err2)
		}
	}
	// The file's address is shown as a link and comes from the client as well.
	link, err := b.services.checkUpload(c.UploadInfo.ContentURL)
	if c.Action == "accept" && err != nil {
		return err
	}
	b.files.drop(c.Context.File)
	if !a.source().IsZero() {
		if err := b.remove(ctx, a.source()); err != nil {
			b.log.InfoContext(ctx, "file offer not removed", "error", err)
		}
	}
	if c.Action != "accept" {
		return nil
	}
	_, err = b.sendAttachment(ctx, a.in(), kept.file.Name, object{
		"contentType": infoContentType, "contentUrl": link.String(), "name": kept.file.Name,
		"content": object{"uniqueId": c.UploadInfo.UniqueID, "fileType": c.UploadInfo.FileType},
	})
	return err
}

// upload stores the file at an address that came from the client. It carries no
// token of the bot's and goes to OneDrive's hosts only.
func (b *Bot) upload(ctx context.Context, to string, f chat.File) error {
	address, err := b.services.checkUpload(to)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, address.String(), bytes.NewReader(f.Content))
	if err != nil {
		return errors.New("upload address cannot be used")
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(f.Content)-1, len(f.Content)))
	resp, err := b.uploads.Do(req)
	if err != nil {
		return errors.New("upload: no answer") // the address is a secret
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("upload: status %d", resp.StatusCode)
	}
	return nil
}
