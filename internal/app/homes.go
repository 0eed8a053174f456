package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	// homeLife is how long a page is kept up to date after it was last opened; its
	// own words say of when it is.
	homeLife = 24 * time.Hour
	// homesLive is how many pages are kept up to date, those opened last.
	homesLive = 200
	// homeRefresh is how long a page stands while no request changes: whether somebody
	// may see it is not in the mark, as far as the platform and the directory know it.
	homeRefresh = 10 * time.Minute
	// homePace is between two pages that nobody waits for: Slack takes a hundred a
	// minute, and whoever opens theirs comes first.
	homePace = time.Second
	// homesPerLook is how many are brought up to date in one look.
	homesPerLook = 2
	homeLease    = 40 * time.Second
	// homeRetry is how long a page waits that could not be shown.
	homeRetry = 30 * time.Second
	// homeAhead is how far ahead anything is planned. What lies further ahead was
	// written by a clock that has been set back since.
	homeAhead = 15 * time.Minute
)

// homes keeps the pages of people true who have opened theirs lately. What they show
// and who has them open is in the database: the replica that hears of an opening is
// not the one that sees a request change, and a page that was open before a restart
// is looked at after it.
//
// A page is no card. Nobody is told by one, so that none is worth a write in the
// transaction of a vote or a place before a message; each look compares a mark of the
// open requests with the one that a page was drawn from. Changes in between coalesce.
type homes struct {
	db  durable.DB
	now func() time.Time
	log *slog.Logger
	// draw makes somebody's page; allowed is false when it holds a refusal alone, or
	// nothing, which leaves what stands there.
	draw func(ctx context.Context, who identity.Principal, asked bool) (page chat.Page, allowed bool)
	show chat.Publisher
	// mark changes with whatever the pages are drawn from.
	mark func(ctx context.Context) (string, error)
}

// opened shows the page of somebody who looks at it. From then on it is kept up to
// date, unless they are refused: strangers do not take the place of those who work.
func (h *homes) opened(ctx context.Context, who identity.Principal) {
	mark, err := h.mark(ctx)
	if err != nil {
		h.log.WarnContext(ctx, "requests not read for a home page", "error", err)
	}
	page, allowed := h.draw(ctx, who, true)
	if !allowed {
		if len(page) > 0 { // otherwise they look very often, and Slack takes so many from all
			_ = h.publish(ctx, who, page) // it has logged why not
		}
		return
	}
	one, mine, err := h.claim(ctx, who, true)
	switch {
	case err != nil: // it is shown, though nobody will know that it is
		h.log.WarnContext(ctx, "opened home page not noted", "error", err)
		_ = h.publish(ctx, who, page) // it has logged why not
	case mine: // otherwise it is being drawn elsewhere, and is drawn again after that
		h.finish(ctx, one, mark, h.publish(ctx, who, page))
	}
}

// look brings pages up to date that are not. It is called every two seconds on every
// replica.
func (h *homes) look(ctx context.Context) error {
	var open int64
	now := h.now()
	if err := h.db.Read().QueryRow(ctx, `SELECT COUNT(*) FROM homes WHERE opened_at > $1`, durable.Micros(now.Add(-homeLife))).Scan(&open); err != nil || open == 0 {
		return err
	}
	mark, err := h.mark(ctx)
	if err != nil {
		return err
	}
	for i := range homesPerLook {
		who, found, err := h.due(ctx, mark)
		if err != nil || !found {
			return err
		}
		if i > 0 {
			if pause(ctx, homePace) != nil {
				return nil // mdebot stops
			}
		}
		one, mine, err := h.claim(ctx, who, false)
		if err != nil || !mine {
			return err
		}
		page, _ := h.draw(ctx, who, false)
		h.finish(ctx, one, mark, h.publish(ctx, who, page))
	}
	return nil
}

// due is the page that has been old the longest, of those opened last.
func (h *homes) due(ctx context.Context, mark string) (who identity.Principal, found bool, err error) {
	now := h.now()
	var account string
	err = h.db.Read().QueryRow(ctx, `
		SELECT account FROM (SELECT * FROM homes WHERE opened_at > $1 ORDER BY opened_at DESC LIMIT $2) AS live
		WHERE (wanted > shown OR mark <> $3 OR published_at <= $5 OR published_at > $6) AND (next_at <= $4 OR next_at > $6) AND (lease_until <= $4 OR lease_until > $6)
		ORDER BY published_at, account LIMIT 1`,
		durable.Micros(now.Add(-homeLife)), homesLive, mark, durable.Micros(now), durable.Micros(now.Add(-homeRefresh)), durable.Micros(now.Add(homeAhead))).Scan(&account)
	if errors.Is(err, durable.ErrNoRows) {
		return who, false, nil
	}
	who, found = chat.Destination(account).Account()
	return who, found, err
}

// homeClaim is the right to show somebody's page.
type homeClaim struct {
	account, owner string
	wanted         int64
}

// claim takes the right to show who's page; mine is false while another has it, or,
// for what nobody waits for, while another page has just been shown. Opening makes
// the row.
func (h *homes) claim(ctx context.Context, who identity.Principal, opening bool) (c homeClaim, mine bool, err error) {
	c = homeClaim{account: string(chat.DirectTo(who)), owner: uuid.NewString()}
	err = h.db.InTx(ctx, func(tx durable.Tx) error {
		mine = false
		now := h.now()
		if opening {
			if _, err := tx.Exec(ctx, `DELETE FROM homes WHERE opened_at <= $1`, durable.Micros(now.Add(-homeLife))); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `
				INSERT INTO homes (account, opened_at, wanted, shown, mark, published_at, next_at, lease_owner, lease_until)
				VALUES ($1, $2, 1, 0, '', 0, 0, '', 0)
				ON CONFLICT (account) DO UPDATE SET opened_at = $2, wanted = homes.wanted + 1`, c.account, durable.Micros(now)); err != nil {
				return err
			}
		} else {
			var last int64
			if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(published_at), 0) FROM homes WHERE published_at <= $1`, durable.Micros(now)).Scan(&last); err != nil {
				return err
			}
			if now.Sub(durable.Time(last)) < homePace {
				return nil
			}
		}
		// What is shown from here on is not known before it is noted: of a page whose
		// outcome is lost, nobody may believe that it still is the one before.
		rows, err := tx.Exec(ctx, `UPDATE homes SET mark = '', lease_owner = $1, lease_until = $2 WHERE account = $3 AND (lease_until <= $4 OR lease_until > $2)`,
			c.owner, durable.Micros(now.Add(homeLease)), c.account, durable.Micros(now))
		if err != nil || rows != 1 {
			return err
		}
		mine = true
		return tx.QueryRow(ctx, `SELECT wanted FROM homes WHERE account = $1`, c.account).Scan(&c.wanted)
	})
	return c, mine, err
}

// publish shows a page once.
func (h *homes) publish(ctx context.Context, who identity.Principal, page chat.Page) error {
	err := h.show.Publish(ctx, who, page)
	if err != nil && ctx.Err() == nil {
		h.log.WarnContext(ctx, "home page not shown", "platform", string(who.Platform), "error", err)
	}
	return err
}

// finish notes what became of a claim. A page that cannot be there is forgotten until
// it is opened again.
func (h *homes) finish(ctx context.Context, c homeClaim, mark string, shown error) {
	now, again := h.now(), h.now().Add(homeRetry)
	if ctx.Err() != nil {
		again = now // mdebot stops: whoever is there next shows it
	}
	ctx = context.WithoutCancel(ctx) // the outcome is recorded also then
	var throttled *chat.ThrottledError
	err := h.db.InTx(ctx, func(tx durable.Tx) (err error) {
		switch {
		case shown == nil:
			_, err = tx.Exec(ctx, `UPDATE homes SET shown = $1, mark = $2, published_at = $3, next_at = 0, lease_owner = '', lease_until = 0 WHERE account = $4 AND lease_owner = $5`,
				c.wanted, mark, durable.Micros(now), c.account, c.owner)
		case errors.Is(shown, chat.ErrNotThere):
			_, err = tx.Exec(ctx, `DELETE FROM homes WHERE account = $1 AND lease_owner = $2`, c.account, c.owner)
		case errors.As(shown, &throttled): // and so would be all others
			_, err = tx.Exec(ctx, `UPDATE homes SET next_at = $1, lease_until = CASE WHEN lease_owner = $2 THEN 0 ELSE lease_until END`,
				durable.Micros(now.Add(min(throttled.RetryAfter, homeAhead))), c.owner)
		default:
			_, err = tx.Exec(ctx, `UPDATE homes SET next_at = $1, lease_owner = '', lease_until = 0 WHERE account = $2 AND lease_owner = $3`,
				durable.Micros(again), c.account, c.owner)
		}
		return err
	})
	if err != nil {
		h.log.WarnContext(ctx, "home page not noted", "error", err)
	}
}

// homeMark changes with the open requests of every tenant and with mdebot.yaml, which
// says who may see and decide them.
func (a *App) homeMark(ctx context.Context) (string, error) {
	sum := sha256.New()
	fmt.Fprint(sum, a.policy.Current().Hash())
	for _, t := range a.tenantIDs() {
		mark, err := a.approvals.Mark(ctx, t)
		if err != nil {
			return "", err
		}
		fmt.Fprint(sum, " ", mark)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
