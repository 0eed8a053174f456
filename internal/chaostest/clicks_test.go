package chaostest

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// copyOf is one card of a request, where somebody sees it.
type copyOf struct {
	place, id string
	who       sandbox.Person
}

// clicker knows the cards of requests and sees them turn.
type clicker struct {
	*testing.T
	world *sandbox.World
}

// cards finds the cards that show the words, by what the bot sent, in all channels
// and in the direct chats of who may approve.
func (c clicker) cards(words string) (found []copyOf) {
	look := func(place string, who sandbox.Person) {
		if strings.HasPrefix(place, "19:") || strings.HasPrefix(place, "a:") {
			for _, m := range c.world.Teams.Messages(place, who.Object) {
				if m.FromBot && bytes.Contains(m.Card, []byte(words)) && bytes.Contains(m.Card, []byte(waits)) {
					found = append(found, copyOf{place, m.ID, who})
				}
			}
			return
		}
		for _, m := range c.world.Slack.Messages(place, who.Slack) {
			if m.FromBot && m.OnlyFor == "" && bytes.Contains(m.Payload, []byte(words)) && bytes.Contains(m.Payload, []byte(waits)) {
				found = append(found, copyOf{place, m.TS, who})
			}
		}
	}
	for _, place := range places {
		look(place, sandbox.Sam)
	}
	for _, p := range []sandbox.Person{sandbox.Sam, sandbox.Jordan, sandbox.Avery, sandbox.Riley} {
		look(c.world.Slack.DirectChannel(p.Slack), p)
		look(c.world.Teams.PersonalChat(p.Object), p)
	}
	return found
}

// turns measures how long it takes from began until a card waits for nobody any more.
func (c clicker) turns(card copyOf, began time.Time) time.Duration {
	for time.Since(began) < 3*time.Minute {
		if text := c.text(card); len(text) > 0 && !bytes.Contains(text, []byte(waits)) {
			return time.Since(began)
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Errorf("a card in %s still waits three minutes after the click", card.place)
	return 3 * time.Minute
}

// waits stands on the cards of requests that nobody has decided.
const waits = "waits for approval"

// text is what a card holds now.
func (c clicker) text(card copyOf) []byte {
	if strings.HasPrefix(card.place, "19:") || strings.HasPrefix(card.place, "a:") {
		for _, m := range c.world.Teams.Messages(card.place, card.who.Object) {
			if m.ID == card.id {
				return m.Card
			}
		}
		return nil
	}
	for _, m := range c.world.Slack.Messages(card.place, card.who.Slack) {
		if m.TS == card.id {
			return m.Payload
		}
	}
	return nil
}

// People decide twenty requests a minute, in Slack and in Teams in turn, while
// hundreds are open and both platforms keep their rates.
func TestClicks_withManyOpen(t *testing.T) {
	t.Parallel()
	if !*figures {
		t.Skip("measures a figure of docs/benchmarks.md: -chaos.figures")
	}
	// More requests than these asked for in a row use up the bot's share of Defender's
	// calls, and it refuses the next.
	const perMinute, open, clicks = 20, 500, 14
	const onClicked, onOthers = time.Second, 5 * time.Second
	o := quick()
	o.Pace = true
	// Nobody may have many undecided requests, so many people ask.
	var crowd strings.Builder
	for i := range open {
		fmt.Fprintf(&crowd, "  - { person: 9b000000-0000-4000-8000-%012d, name: Person %d, slack: [T0SOC/U0P%d], roles: [responder] }\n", i, i, i)
	}
	config := strings.Replace(policyFor(), "groups:\n", crowd.String()+"groups:\n", 1)
	world, env := newWorld(t, o, config)
	ids := addMachines(world, open)
	url := "sqlite:" + filepath.Join(t.TempDir(), "mdebot.db")
	openMany(t, url, config, ids[clicks:]) // the others are asked for in chat
	p := newProcess(t, "the bot", append(env, "MDEBOT_DATABASE_URL="+url))
	p.serve()
	if err := world.Connect(t.Context(), "http://"+p.listen); err != nil {
		t.Fatal(err)
	}
	c := clicker{t, world}
	everywhere := 0
	for i := range clicks {
		if i > 0 {
			time.Sleep(time.Minute / perMinute) // the bot keeps Defender's quota too
		}
		asker := fmt.Sprintf("U0P%d", i)
		world.Entra.AddUser(sandbox.TenantID, entrasim.User{Object: fmt.Sprintf("9b000000-0000-4000-8000-%012d", i), Name: asker})
		world.Slack.AddUser(slacksim.User{ID: asker, Name: strings.ToLower(asker), RealName: fmt.Sprintf("Person %d", i)})
		world.Slack.Join(asker, sandbox.SlackSOC)
		if err := world.Slack.Slash(t.Context(), asker, sandbox.SlackSOC, fmt.Sprintf("isolate cx-%04d it beacons, number %04d", i, i)); err != nil {
			t.Fatal(err)
		}
	}
	// Posting them keeps the rates as well; clicking begins when all are there.
	cards := make([][]copyOf, clicks)
	for since, end := time.Now(), time.Now().Add(8*time.Minute); time.Since(since) < 15*time.Second; time.Sleep(time.Second) {
		now := 0
		for i := range clicks {
			cards[i] = c.cards(fmt.Sprintf("it beacons, number %04d", i))
			now += len(cards[i])
		}
		if now != everywhere || now == 0 {
			everywhere, since = now, time.Now()
		}
		if time.Now().After(end) {
			t.Fatalf("the cards still come after eight minutes: %d", now)
		}
	}

	var mu sync.Mutex
	var clicked, others []time.Duration
	var all sync.WaitGroup
	began := time.Now()
	for i := range clicks {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Minute / perMinute)))
		place := []string{sandbox.SlackApprovals, sandbox.TeamsApprovals}[i%2]
		at := slices.IndexFunc(cards[i], func(card copyOf) bool { return card.place == place })
		if at < 0 {
			t.Fatalf("request %d has no card in %s: %v", i, place, cards[i])
		}
		card, due := cards[i][at], time.Now()
		all.Go(func() {
			var err error
			if i%2 == 0 {
				err = world.Slack.Click(t.Context(), sandbox.Sam.Slack, card.place, card.id, slacksim.Press{Label: "Approve"})
			} else {
				_, err = world.Teams.Click(t.Context(), sandbox.Sam.Object, card.id, teamssim.Choice{Title: "Approve", Verb: "request.approve"}, nil)
			}
			if err != nil {
				t.Errorf("click on request %d: %v", i, err)
			}
		})
		for _, other := range cards[i] {
			all.Go(func() {
				took := c.turns(other, due)
				mu.Lock()
				defer mu.Unlock()
				if other == card {
					clicked = append(clicked, took)
				} else {
					others = append(others, took)
				}
				if took > onOthers {
					t.Logf("request %d, clicked in %s: the card in %s took %s", i, place, other.place, took)
				}
			})
		}
	}
	all.Wait()
	for name, took := range map[string][]time.Duration{"clicked": clicked, "other": others} {
		slices.Sort(took)
		at := func(q float64) time.Duration {
			return took[min(int(q*float64(len(took))), len(took)-1)].Round(time.Millisecond)
		}
		t.Logf("%s cards: %d, p50 %s, p90 %s, p99 %s, longest %s", name, len(took), at(0.5), at(0.9), at(0.99), at(1))
	}
	t.Logf("%d clicks at %d a minute, %d open requests, %d cards of the decided ones", clicks, perMinute, open, everywhere)
	if longest := clicked[len(clicked)-1]; longest > onClicked {
		t.Errorf("a clicked card took %s, want %s at most", longest, onClicked)
	}
	if longest := others[len(others)-1]; longest > onOthers {
		t.Errorf("another card took %s, want %s at most", longest, onOthers)
	}
}
