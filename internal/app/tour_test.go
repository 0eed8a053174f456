package app

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// stop is a card of the tour: what is typed, and what the answer shows.
type stop struct {
	name  string
	typed string
	shows []string
}

// The tour is what docs/tour.md shows, in its order. Where nothing is typed the
// bot speaks first.
var tour = []stop{
	{"alert", "", []string{"High alert", "Credential dumping tool", "not isolated"}},
	{"help", "help", []string{"isolate", "hunt", "lookup"}},
	{"whoami", "whoami", []string{"You are Riley Chen", "responder"}},
	{"alerts", "alerts high", []string{"Severity", "Show an alert"}},
	{"machine", "machine ws-014", []string{"Machine ws-014", "not isolated"}},
	{"chooser", "machine ws-042", []string{"Which", "ws-042"}},
	{"lookup", "lookup login[.]contoso-invoices[.]example 203[.]0[.]113[.]66", []string{"203.0.113.66", "contoso-invoices"}},
	{"incidents", "incidents", []string{"changed since", "Assigned to"}},
	{"score", "score", []string{"Scores of the tenant", "Exposure"}},
	{"hunt", "hunt DeviceLogonEvents | take 5", []string{"Hunt: 5 rows"}},
	{"hunts", "hunt list", []string{"logons"}},
	{"request", "isolate ws-014 beaconing to a known bad address", []string{"Request #1", "waits for approval"}},
	{"requests", "requests", []string{"1 open request"}},
	{"tier-zero", "isolate dc-01 just to see", []string{"Asked: #2 isolate dc-01", "2 approvals"}},
	{"mute", "mute --title 'Suspicious scheduled task' --for 2h --reason 'the backup tool is being rolled out'", []string{"Mute these alerts?"}},
}

// takeTour walks through the tour on one platform and keeps a picture of each card.
func takeTour(t *testing.T, platform string, dark bool) {
	s := newStory(t, sandbox.Options{})
	s.watching()
	b := openPage(t, s.world, dark)
	b.do("make room for long cards", chromedp.EmulateViewport(1500, 4200))
	scheme := map[bool]string{false: "light", true: "dark"}[dark]
	message, composer, prefix := platform+"-message", platform+"-composer", "/mde "
	if platform == "teams" {
		prefix = ""
		b.open("teams-channel-" + sandbox.TeamsSOC)
	} else {
		b.open("slack-channel-" + sandbox.SlackSOC)
	}
	s.raise("ws-018", "High", "Credential dumping tool")
	s.later(time.Minute) // the next look at Defender
	for _, stop := range tour {
		if stop.typed != "" {
			b.write(composer, prefix+stop.typed)
		}
		b.sees(message, stop.shows...)
		b.card(message, fmt.Sprintf("%s-%s-%s", stop.name, platform, scheme), stop.shows...)
		if stop.name == "alert" && platform == "teams" {
			b.open("teams-direct") // where nobody else reads, and nobody is mentioned
		}
	}
	b.become(sandbox.Avery)
	if platform == "teams" {
		b.open("teams-channel-" + sandbox.TeamsApprovals)
	} else {
		b.open("slack-channel-" + sandbox.SlackApprovals)
	}
	b.press(message, "Approve", "Request #1", "waits for approval")
	if platform == "teams" {
		b.press(message, "Approve", "Request #1", "You approve")
	} else {
		b.do("confirm", chromedp.Click(testID("confirm-yes")))
	}
	b.sees(message, "Request #1", "ws-014.corp.contoso.com – isolated")
	b.card(message, fmt.Sprintf("isolated-%s-%s", platform, scheme), "Request #1", "ws-014.corp.contoso.com – isolated")
}

// Every kind of card is drawn by the page on both platforms.
func TestBrowser_tour(t *testing.T) {
	t.Parallel()
	for _, platform := range []string{"slack", "teams"} {
		for _, dark := range []bool{false, true} {
			if dark && os.Getenv("MDEBOT_SCREENSHOTS") == "" {
				continue // the same cards in other colours
			}
			t.Run(fmt.Sprintf("%s, dark: %t", platform, dark), func(t *testing.T) {
				t.Parallel()
				takeTour(t, platform, dark)
			})
		}
	}
}

// card saves a picture of the newest message with the words.
func (b *browser) card(message, name string, words ...string) {
	b.Helper()
	b.scrollTo(message, words...)
	found := fmt.Sprintf(`[...document.querySelectorAll('[data-testid=%q]')].reverse().find(m => %s)`, message, hasAll("m", words))
	b.until("find "+name, "!!"+found)
	// The card may be drawn again at any time, as the person's own view.
	b.picture(name, fmt.Sprintf(`[data-testid=%q][data-id=%q]`, message, is[string](b, found+".dataset.id")))
}

// The tour's page shows every card of it on both platforms, in light and dark.
func TestTour_isWhatThePageShows(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/tour.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	see := func(picture string) {
		shown++
		if !strings.Contains(string(text), picture) {
			t.Errorf("docs/tour.md does not show %s", picture)
		}
		if _, err := os.Stat("../../docs/" + picture); err != nil {
			t.Errorf("%v; run make screenshots", err)
		}
	}
	for _, scheme := range []string{"light", "dark"} {
		see(fmt.Sprintf("screenshots/%s-%s.png", homePicture, scheme))
		see(fmt.Sprintf("screenshots/%s-%s.png", tabPicture, scheme))
	}
	for _, name := range append([]string{"isolated"}, names(tour)...) {
		for _, platform := range []string{"slack", "teams"} {
			for _, scheme := range []string{"light", "dark"} {
				see(fmt.Sprintf("screenshots/%s-%s-%s.png", name, platform, scheme))
			}
		}
	}
	if n := strings.Count(string(text), ".png"); n != shown {
		t.Errorf("docs/tour.md shows %d pictures, and the tour makes %d", n, shown)
	}
}

func names(stops []stop) (all []string) {
	for _, s := range stops {
		all = append(all, s.name)
	}
	return all
}
