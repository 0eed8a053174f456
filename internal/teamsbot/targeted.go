package teamsbot

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
)

// Targeted messages stand in a channel or group chat and are seen by one person
// alone. Teams keeps them for a day and notifies nobody of them.

// targetedOff is how long a refusal is remembered.
const targetedOff = time.Hour

// targeting knows where targeted messages work. A service that does not know them
// could take one for an ordinary message and show it to everybody, so they are sent
// only where Microsoft documents them, or where one has come in.
type targeting struct {
	now        func() time.Time
	documented bool

	mu   sync.Mutex
	came map[string]bool      // tenants
	off  map[string]time.Time // tenants and conversations, until when
}

func newTargeting(documented bool, now func() time.Time) *targeting {
	return &targeting{now: now, documented: documented, came: map[string]bool{}, off: map[string]time.Time{}}
}

// saw notes that a tenant's people can send targeted messages.
func (t *targeting) saw(tenant string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.came[tenant] = true
}

// may reports whether a targeted message to somebody in a conversation is worth a
// try.
func (t *targeting) may(inv chat.Invocation) bool {
	if inv.In.Direct || !strings.HasPrefix(inv.By.Address, "29:") {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.documented && !t.came[inv.In.Workspace] {
		return false
	}
	now := t.now()
	return now.After(t.off[inv.In.Workspace]) && now.After(t.off[placeKey(inv.In)])
}

// refused reports whether err says that a targeted message cannot be had there, and
// remembers that for a while: a tenant or a conversation that does not take them
// costs one failed call. Anything else is an error like that of any message.
func (t *targeting) refused(in chat.Conversation, err error) bool {
	var refused *ConnectorError
	if !errors.As(err, &refused) {
		return false
	}
	key := ""
	switch refused.StatusCode {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		key = in.Workspace
	case http.StatusForbidden, http.StatusNotFound:
		key = placeKey(in)
	default:
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.off) >= maxPlaces {
		clear(t.off)
	}
	t.off[key] = t.now().Add(targetedOff)
	return true
}

func placeKey(in chat.Conversation) string { return in.Workspace + "/" + in.ID }

// aside posts the answer where it was asked for, seen by the asker alone. done is
// false where that cannot be had.
func (r *replies) aside(ctx context.Context, summary string, drawn object) (ref chat.Ref, done bool, err error) {
	if !r.bot.targeting.may(r.inv) {
		return chat.Ref{}, false, nil
	}
	ref, err = r.bot.sendTargeted(ctx, r.inv.In, r.inv.By, summary, drawn)
	if r.bot.targeting.refused(r.inv.In, err) {
		r.bot.log.InfoContext(ctx, "targeted message refused", "tenant_id", r.inv.In.Workspace, "conversation_id", r.inv.In.ID, "error", err)
		return chat.Ref{}, false, nil
	}
	return ref, true, err
}

// markAside makes every button of a card, or of an invoke's answer that holds one,
// tell that it was pressed on what one person alone sees. A client could take the
// mark away; then only its own answer is seen by more people.
func markAside(v any) {
	switch v := v.(type) {
	case object:
		if data, ok := v["data"].(object); ok && (v["type"] == "Action.Execute" || v["type"] == "Action.Submit") {
			data[keyAside] = true
		}
		for key, e := range v {
			if key != "data" {
				markAside(e)
			}
		}
	case []object:
		for _, e := range v {
			markAside(e)
		}
	}
}
