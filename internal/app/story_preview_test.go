package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// posts writes a message of somebody's, and returns its ts.
func (s *story) posts(who sandbox.Person, channel, text string) string {
	s.Helper()
	if err := s.world.Slack.Write(s.Context(), who.Slack, channel, "", text, ""); err != nil {
		s.Fatalf("%s posts %s: %v", who.Name, text, err)
	}
	all := s.world.Slack.Messages(channel, who.Slack)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].User == who.Slack {
			return all[i].TS
		}
	}
	s.Fatal("the message is not there")
	return ""
}

// below is what people read below a message.
func (s *story) below(channel, ts string) string {
	for _, m := range s.world.Slack.Messages(channel, "") {
		if m.TS == ts {
			return readable(m.Attachments)
		}
	}
	return ""
}

func (s *story) previewed(channel, ts string, words ...string) {
	s.Helper()
	s.eventually("a preview", func() string {
		if text := s.below(channel, ts); !containsAll(text, words) {
			return fmt.Sprintf("%q lacks some of %q", text, words)
		}
		return ""
	})
}

func TestStory_addressesOfThePortalArePreviewed(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sandbox.Options{"HTTP": {}, "Socket Mode": {SocketMode: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, o)
			s.connected(o)
			machine := s.machine("ws-011.corp.contoso.com")
			alert, err := s.world.Tenant.RaiseAlert(machine.ID, "High", "Credential <!channel> dumping")
			if err != nil {
				t.Fatal(err)
			}
			portal := s.bot.defender.Portal()
			if !strings.HasPrefix(portal.Machine(machine.ID), "https://security.microsoft.com/") {
				t.Fatalf("the portal is at %s", portal.Machine(machine.ID))
			}
			link := portal.Machine(machine.ID)
			other := strings.Replace(link, sandbox.TenantID, sandbox.CustomerID, 1)

			// Nothing of these is shown, wherever and by whomever it is tried.
			silent := map[string][2]string{}
			for what, post := range map[string]struct {
				who     sandbox.Person
				channel string
				text    string
			}{
				"in a channel that is not for readers":       {sandbox.Riley, sandbox.SlackOps, link},
				"in a direct chat":                           {sandbox.Riley, s.slack().direct(sandbox.Riley), link},
				"by somebody who is not linked":              {sandbox.Noor, sandbox.SlackSOC, link},
				"of another tenant":                          {sandbox.Riley, sandbox.SlackSOC, other},
				"of another host":                            {sandbox.Riley, sandbox.SlackSOC, strings.Replace(link, "security.microsoft.com", "evil.security.microsoft.com", 1)},
				"with somebody's name in it":                 {sandbox.Riley, sandbox.SlackSOC, strings.Replace(link, "https://", "https://riley@", 1)},
				"without TLS":                                {sandbox.Riley, sandbox.SlackSOC, strings.Replace(link, "https://", "http://", 1)},
				"of a machine that does not exist":           {sandbox.Riley, sandbox.SlackSOC, portal.Machine(strings.Repeat("0", 40))},
				"of a page that says nothing about an alert": {sandbox.Riley, sandbox.SlackSOC, "https://security.microsoft.com/advanced-hunting?query=1"},
			} {
				silent[what] = [2]string{post.channel, s.posts(post.who, post.channel, post.text)}
			}

			ts := s.posts(sandbox.Riley, sandbox.SlackSOC, "look at <"+strings.ReplaceAll(link, "&", "&amp;")+"> and "+portal.Alert(alert.ID))
			s.previewed(sandbox.SlackSOC, ts, "Machine ws-011", "Windows11", "High alert: Credential <!channel> dumping", "shows the rest")
			for what, at := range silent {
				if text := s.below(at[0], at[1]); text != "" {
					t.Errorf("%s there is a preview: %s", what, text)
				}
			}

			// Three of one message.
			var many []string
			for i := range 5 {
				many = append(many, link+"&x="+fmt.Sprint(i))
			}
			ts = s.posts(sandbox.Riley, sandbox.SlackSOC, strings.Join(many, " "))
			s.previewed(sandbox.SlackSOC, ts, "Machine ws-011")
			if n := strings.Count(s.below(sandbox.SlackSOC, ts), "Machine ws-011"); n != 3 {
				t.Errorf("%d previews below one message, want 3", n)
			}
			if n := len(s.audited("command.refused")); n != 0 {
				t.Errorf("%d refusals are recorded of people who asked for nothing", n)
			}
		})
	}
}

// A preview is an answer that everybody sees, so it keeps out of where guests read.
func TestStory_noPreviewWhereGuestsRead(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(sandbox.PolicyYAML(), "readers: [", "readers: [slack:C0GUESTS, ", 1)
	s := newStoryUnder(t, yaml, sandbox.Options{})
	s.world.Slack.AddChannel(slacksim.Channel{ID: "C0GUESTS", Name: "guests", BotIn: true, Members: []string{sandbox.Riley.Slack, sandbox.Gale.Slack}})
	link := s.bot.defender.Portal().Machine(s.machine("ws-011.corp.contoso.com").ID)
	ts := s.posts(sandbox.Riley, "C0GUESTS", link)
	s.previewed(sandbox.SlackSOC, s.posts(sandbox.Riley, sandbox.SlackSOC, link), "Machine ws-011")
	s.eventually("a look at who reads there", func() string {
		if s.world.Slack.Calls("conversations.members") < 2 {
			return "nobody has looked yet"
		}
		return ""
	})
	if text := s.below("C0GUESTS", ts); text != "" {
		t.Errorf("a guest reads %s", text)
	}
}

// Of several tenants, a channel shows what belongs to the one that it is bound to.
func TestStory_previewsOfSeveralTenants(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{Customer: true})
	s.halt()
	s.writePolicy(strings.Replace(s.world.PolicyYAML(), "readers: [", "readers: [slack:C0FABRIKAM, ", 1))
	s.start()
	ours := s.bot.defender.Portal().Machine(s.machine("ws-011.corp.contoso.com").ID)
	their := s.world.Fabrikam.Machines()[0]
	theirs := s.bot.customers[1].client.Portal().Machine(their.ID)
	wrong := map[string]string{
		s.posts(sandbox.Riley, sandbox.SlackSOC, theirs):    sandbox.SlackSOC,
		s.posts(sandbox.Riley, sandbox.SlackFabrikam, ours): sandbox.SlackFabrikam,
		s.posts(sandbox.Riley, sandbox.SlackFabrikam, "https://security.microsoft.com/machines/"+s.machine("ws-011.corp.contoso.com").ID): sandbox.SlackFabrikam,
	}
	s.previewed(sandbox.SlackSOC, s.posts(sandbox.Riley, sandbox.SlackSOC, ours), "Machine ws-011", "contoso")
	s.previewed(sandbox.SlackFabrikam, s.posts(sandbox.Riley, sandbox.SlackFabrikam, theirs), "Machine "+their.ShortName(), "fabrikam")
	for ts, channel := range wrong {
		if text := s.below(channel, ts); text != "" {
			t.Errorf("in %s there is a preview of another tenant's machine: %s", channel, text)
		}
	}
}
