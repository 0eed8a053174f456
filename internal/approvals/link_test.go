package approvals_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// linked answers by the file unless it holds something for the account.
type linked struct {
	links map[string]identity.Link
	fault error
}

func (l *linked) Resolve(_ context.Context, _ durable.DBTX, _ tenant.ID, book *identity.Book, account identity.Principal) (identity.Link, error) {
	if l.fault != nil {
		return identity.Link{}, l.fault
	}
	link, ok := l.links[account.Key()]
	switch {
	case ok && link.How == "":
		return identity.Link{}, identity.ErrUnlinked
	case ok:
		return link, nil
	}
	return book.LinkOf(account)
}

// link makes an account stand for the person of another account.
func (l *linked) link(w *approvalstest.World, account, person identity.Principal, since time.Time, cool time.Duration) {
	p, _ := w.Policy.Current().Book().Person(approvalstest.ID(person))
	l.links[account.Key()] = identity.Link{Person: p, How: identity.BySignIn, Since: since, CountsFrom: since.Add(cool)}
}

func (l *linked) unlink(account identity.Principal) { l.links[account.Key()] = identity.Link{} }

func newLinked(t *testing.T) (*approvalstest.World, *linked) {
	t.Helper()
	w := approvalstest.New(t)
	l := &linked{links: map[string]identity.Link{}}
	w.Service = approvals.New(approvals.Config{
		DB: w.DB, Audit: audit.NewLog(w.Clock.Now), Announcer: w.Told, Policy: w.Policy, Links: l,
		Actions: approvals.Actions(), Now: w.Clock.Now, Logger: w.Logger,
	})
	return w, l
}

func TestVote_throughANewLink(t *testing.T) {
	t.Parallel()
	w, l := newLinked(t)
	r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
	l.link(w, approvalstest.Stranger, avery, w.Clock.Now(), 24*time.Hour)

	_, err := w.Vote(t.Context(), approvalstest.Vote(r, approvalstest.Stranger, false))
	no := wantRefusal(t, w, err, approvals.ErrLinkTooNew)
	if !strings.Contains(no.Sentence, "2026-11-22 12:00 UTC") {
		t.Errorf("the refusal says %q, want when approvals count", no.Sentence)
	}
	if got := state(t, w, r); got != approvals.Pending {
		t.Errorf("state = %s, want pending", got)
	}
	l.link(w, approvalstest.Stranger, avery, w.Clock.Now(), 0) // confirmed
	if got := mustVote(t, w, r, approvalstest.Stranger, false).State; got != approvals.Approved {
		t.Errorf("state = %s after the link was confirmed, want approved", got)
	}
}

func TestVote_denialThroughANewLinkCounts(t *testing.T) {
	t.Parallel()
	w, l := newLinked(t)
	r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
	l.link(w, approvalstest.Stranger, avery, w.Clock.Now(), 24*time.Hour)
	if got := mustVote(t, w, r, approvalstest.Stranger, true).State; got != approvals.Denied {
		t.Errorf("state = %s, want denied", got)
	}
}

func TestVote_linkedAccountsOfOnePersonCountOnce(t *testing.T) {
	t.Parallel()
	w, l := newLinked(t)
	l.link(w, approvalstest.Stranger, riley, w.Clock.Now().Add(-48*time.Hour), 24*time.Hour)
	r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
	_, err := w.Vote(t.Context(), approvalstest.Vote(r, approvalstest.Stranger, false))
	wantRefusal(t, w, err, approvals.ErrOwnRequest)
}

func TestClaim_afterALinkChanged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*approvalstest.World, *linked)
		why    string
	}{
		{"the approver's account was unlinked", func(_ *approvalstest.World, l *linked) { l.unlink(avery) }, "is no longer linked"},
		{"the approver's account stands for somebody else", func(w *approvalstest.World, l *linked) {
			l.link(w, avery, approvalstest.Sam, w.Clock.Now().Add(-48*time.Hour), 0)
		}, "is now linked to somebody else"},
		{"the approver's account was unlinked and linked again", func(w *approvalstest.World, l *linked) {
			l.link(w, avery, avery, w.Clock.Now().Add(time.Second), 0)
		}, "was linked again afterwards"},
		{"the approver's account falls back to a link that is too new", func(w *approvalstest.World, l *linked) {
			l.link(w, avery, avery, w.Clock.Now().Add(-time.Hour), 24*time.Hour)
		}, "was linked too recently"},
		{"the requester's account was unlinked", func(_ *approvalstest.World, l *linked) { l.unlink(riley) }, "through an account that has changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, l := newLinked(t)
			r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
			c.change(w, l)
			_, err := w.Claim(t.Context(), refs[0], facts(w, r, 0))
			no := wantVoid(t, err)
			if !strings.Contains(no.Sentence, c.why) {
				t.Errorf("the refusal says %q, want %q", no.Sentence, c.why)
			}
			if got := state(t, w, r); got != approvals.Void {
				t.Errorf("state = %s, want void", got)
			}
		})
	}
}

func wantVoid(t *testing.T, err error) *approvals.Refusal {
	t.Helper()
	var no *approvals.Refusal
	if !errors.As(err, &no) || !errors.Is(err, approvals.ErrVoid) {
		t.Fatalf("Claim = %v, want a refusal because %v", err, approvals.ErrVoid)
	}
	return no
}

func TestVote_doesNotCompleteAQuorumWithAVoidVote(t *testing.T) {
	t.Parallel()
	w, l := newLinked(t)
	server := approvalstest.Workstation("srv-1")
	server.Machine.OS = "WindowsServer2025"
	r := mustOpen(t, w, approvalstest.Isolate(riley, server)) // needs two
	mustVote(t, w, r, avery, false)
	l.unlink(avery)
	if got := mustVote(t, w, r, approvalstest.Sam, false).State; got != approvals.Pending {
		t.Errorf("state = %s with one vote that counts of two, want pending", got)
	}
	if got := mustVote(t, w, r, approvalstest.Jo, false).State; got != approvals.Approved {
		t.Errorf("state = %s, want approved by the two others", got)
	}
}

func TestLinks_unreadable(t *testing.T) {
	t.Parallel()
	w, l := newLinked(t)
	r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
	l.fault = errors.New("disk")
	if _, err := w.Claim(t.Context(), refs[0], facts(w, r, 0)); !errors.Is(err, l.fault) {
		t.Errorf("Claim = %v, want the fault", err)
	}
	if _, err := w.Open(t.Context(), approvalstest.Isolate(riley, approvalstest.Workstation("ws-2"))); !errors.Is(err, l.fault) {
		t.Errorf("Open = %v, want the fault", err)
	}
	if got := state(t, w, r); got != approvals.Approved {
		t.Errorf("state = %s, want it left as it was", got)
	}
}

// Whoever got hold of another's link must not be two people with it: not by
// asking through it, and not by confirming it themselves.
func TestAttack_onePersonWithAnotherOnesNewLink(t *testing.T) {
	t.Parallel()
	confirmedBy := func(l *linked, by identity.Principal) {
		link := l.links[approvalstest.Stranger.Key()]
		link.CountsFrom, link.ConfirmedBy = link.Since, approvalstest.ID(by)
		l.links[approvalstest.Stranger.Key()] = link
	}
	t.Run("asks through it and approves", func(t *testing.T) {
		t.Parallel()
		w, l := newLinked(t)
		l.link(w, approvalstest.Stranger, riley, w.Clock.Now(), 24*time.Hour)
		r := mustOpen(t, w, approvalstest.Isolate(approvalstest.Stranger, approvalstest.Workstation("ws-1")))
		if got := mustVote(t, w, r, avery, false).State; got != approvals.Pending {
			t.Errorf("state = %s after one approval, want pending", got)
		}
		if r.Rule.Approvers != 2 || !strings.Contains(r.Rule.OverLimit, "new link") {
			t.Errorf("rule = %+v, want one approver more because of the link", r.Rule)
		}
	})
	t.Run("confirms it, asks through it and approves", func(t *testing.T) {
		t.Parallel()
		w, l := newLinked(t)
		l.link(w, approvalstest.Stranger, riley, w.Clock.Now(), 24*time.Hour)
		confirmedBy(l, avery)
		r := mustOpen(t, w, approvalstest.Isolate(approvalstest.Stranger, approvalstest.Workstation("ws-1")))
		_, err := w.Vote(t.Context(), approvalstest.Vote(r, avery, false))
		wantRefusal(t, w, err, approvals.ErrLinkTooNew)
		if got := mustVote(t, w, r, approvalstest.Sam, false).State; got != approvals.Approved {
			t.Errorf("state = %s after somebody else's approval, want approved", got)
		}
	})
	t.Run("confirms it, asks and approves through it", func(t *testing.T) {
		t.Parallel()
		w, l := newLinked(t)
		l.link(w, approvalstest.Stranger, avery, w.Clock.Now(), 24*time.Hour)
		confirmedBy(l, riley)
		r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
		_, err := w.Vote(t.Context(), approvalstest.Vote(r, approvalstest.Stranger, false))
		wantRefusal(t, w, err, approvals.ErrLinkTooNew)
		if got := mustVote(t, w, r, approvalstest.Stranger, true).State; got != approvals.Denied {
			t.Errorf("state = %s after a denial through the link, want denied", got)
		}
	})
	t.Run("a day later a confirmed link is like any other", func(t *testing.T) {
		t.Parallel()
		w, l := newLinked(t)
		l.link(w, approvalstest.Stranger, avery, w.Clock.Now().Add(-24*time.Hour), 24*time.Hour)
		confirmedBy(l, riley)
		r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
		if got := mustVote(t, w, r, approvalstest.Stranger, false).State; got != approvals.Approved {
			t.Errorf("state = %s, want approved", got)
		}
	})
	t.Run("confirmed between the vote and the claim", func(t *testing.T) {
		t.Parallel()
		w, l := newLinked(t)
		r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
		l.link(w, avery, avery, r.Opened.Add(-time.Hour), 0)
		link := l.links[avery.Key()]
		link.ConfirmedBy = approvalstest.ID(riley)
		l.links[avery.Key()] = link
		_, err := w.Claim(t.Context(), refs[0], facts(w, r, 0))
		if no := wantVoid(t, err); !strings.Contains(no.Sentence, "confirmed the link") {
			t.Errorf("the refusal says %q, want who confirmed the link", no.Sentence)
		}
	})
}
