package slackbot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"github.com/mdebot/mdebot/internal/chat"
)

const (
	// responseUses and responseLife are Slack's limits on a response address.
	responseUses = 5
	responseLife = 30 * time.Minute
)

// response is an address for the answers to one command or click. Whoever has the
// address can write into the conversation: it is never logged.
type response struct {
	address string
	until   time.Time // when it is used no more

	mu   sync.Mutex
	uses int
}

var errResponseUsed = errors.New("the response address is used up")

// left is how many uses are left at a time.
func (r *response) left(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !now.Before(r.until) {
		return 0
	}
	return responseUses - r.uses
}

// take counts one use, unless fewer than keep would be left after it.
func (r *response) take(now time.Time, keep int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !now.Before(r.until) || responseUses-r.uses <= keep {
		return false
	}
	r.uses++
	return true
}

// responseBody is what a response address takes. slack-go's own way loses the
// unfurling flags and the error.
type responseBody struct {
	ResponseType    string             `json:"response_type,omitempty"`
	ReplaceOriginal bool               `json:"replace_original"`
	ThreadTS        string             `json:"thread_ts,omitempty"`
	Text            string             `json:"text"`
	Blocks          []slack.Block      `json:"blocks"`
	Attachments     []slack.Attachment `json:"attachments"`
	UnfurlLinks     bool               `json:"unfurl_links"`
	UnfurlMedia     bool               `json:"unfurl_media"`
}

// allowedResponse reports whether address is one that Slack hands out: https on
// the exact host that belongs to the configured Web API (threat-model S-09).
// With TLS the host's certificate also settles where its name leads to; plain
// http passes only for the loopback address that the Web API itself has.
func (b *Bot) allowedResponse(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Fragment != "" || !b.hosts[u.Host] {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

// postResponse makes one attempt, and tells whether the answer is in Slack's words: a
// proxy answers 200 as well. Its errors do not hold the address.
func (b *Bot) postResponse(ctx context.Context, address string, body responseBody) (confirmed bool, err error) {
	const op = "answer through the response address"
	if !b.allowedResponse(address) {
		return false, errors.New(op + ": the address is not Slack's")
	}
	// What is left out may stay as it was in the message that is replaced.
	if body.Blocks == nil {
		body.Blocks = []slack.Block{}
	}
	if body.Attachments == nil {
		body.Attachments = []slack.Attachment{}
	}
	content, err := json.Marshal(body)
	if err != nil {
		return false, fmt.Errorf("%s: %w", op, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(content))
	if err != nil {
		return false, errors.New(op + ": the address is not Slack's")
	}
	req.Header.Set("Content-Type", jsonType)
	resp, err := b.respond.Do(req)
	if err != nil {
		return false, unclearOr(refusal(op, err), unclear(err))
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	var refused struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	isJSON := err == nil && json.Unmarshal(said, &refused) == nil
	switch {
	case resp.StatusCode == http.StatusOK:
		return isJSON && refused.OK || string(bytes.TrimSpace(said)) == "ok", nil
	case isJSON && refused.Error != "":
		return false, refusedWith(op, slack.SlackErrorResponse{Err: refused.Error})
	}
	return false, unclearOr(fmt.Errorf("%s: Slack answered status %d", op, resp.StatusCode), resp.StatusCode >= http.StatusInternalServerError)
}

// withFallback sends m drawn and, when Slack refuses the drawing, once more
// without what workspaces have learnt late, and then as plain text. A workspace
// that takes a message only without it is not asked again until the next start.
func (b *Bot) withFallback(m chat.Message, send func(drawn) error) error {
	without := lacks{folds: b.noFolds.Load(), tables: b.noTables.Load()}
	err := send(draw(m, without))
	mayFold, mayTable := folds(m) && !without.folds, m.Table != nil && !without.tables
	for _, less := range []lacks{
		{folds: true, tables: without.tables}, {folds: without.folds, tables: true}, {folds: true, tables: true},
	} {
		if !errors.Is(err, chat.ErrTooBig) {
			return err
		}
		if less.folds && !without.folds && !mayFold || less.tables && !without.tables && !mayTable {
			continue // it would be the same drawing
		}
		if err = send(draw(m, less)); err == nil {
			b.noFolds.Store(less.folds)
			b.noTables.Store(less.tables)
		}
	}
	if errors.Is(err, chat.ErrTooBig) {
		err = send(plain(m))
	}
	return err
}

// folds reports whether m draws anything that collapses.
func folds(m chat.Message) bool {
	return slices.ContainsFunc(m.Sections, func(s chat.Section) bool { return s.Folded && s.Heading != "" })
}
