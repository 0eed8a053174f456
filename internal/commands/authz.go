package commands

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

// caller is who asks, as far as that could be established.
type caller struct {
	Account identity.Principal
	Person  identity.Person // zero when not linked
}

// key is what limits are counted by: the person, or the account of somebody who
// is not linked to one.
func (w caller) key() string {
	if !w.Person.ID.IsZero() {
		return w.Person.ID.String()
	}
	return w.Account.String()
}

// name is how the caller is named in records and comments.
func (w caller) name() string {
	if w.Person.Name != "" {
		return w.Person.Name
	}
	return w.Account.Key()
}

// authorise establishes who asks and whether they may use c's command here and
// now. Whatever cannot be found out is a no. Refusals are recorded.
func (r *Router) authorise(ctx context.Context, c *call) error {
	c.who = caller{Account: c.inv.By}
	err := r.mayUse(ctx, c)
	if err == nil {
		return nil
	}
	var s *sorry
	if errors.As(err, &s) {
		if err := r.record(ctx, c, "command.refused", "refused", map[string]string{"why": s.sentence.String()}); err != nil {
			r.Logger.ErrorContext(ctx, "refusal not recorded", "command", c.spec.Name, "error", err)
		}
	}
	return err
}

func (r *Router) mayUse(ctx context.Context, c *call) error {
	if c.spec.Access == Anybody {
		// Nobody is refused; the person is for limits and records alone.
		if link, err := r.Links.Who(ctx, c.inv.By); err == nil {
			c.who.Person = link.Person
		}
		return nil
	}
	standing, err := r.Directory.Standing(ctx, c.inv.By)
	if err != nil {
		r.Logger.WarnContext(ctx, "standing not read", "platform", string(c.inv.By.Platform), "error", err)
		return say("Your standing in this "+placeWord(c.inv.By.Platform)+" could not be looked up, so nothing is done.", r.tryAgain(ctx))
	}
	if standing != identity.Member {
		return say("Only full members of this "+placeWord(c.inv.By.Platform)+" can use mdebot; this account is: "+string(standing)+".", "Ask a colleague who is a full member.")
	}
	if err := r.mayByRole(ctx, c); err != nil {
		return err
	}
	if err := r.mayWorkOn(c); err != nil {
		return err
	}
	if c.everyTenant { // each of them is asked for its own
		return nil
	}
	return r.permitted(ctx, c.spec)
}

// placeWord is what people call the place where a chat account has its standing.
func placeWord(p identity.Platform) string {
	if p == identity.Slack {
		return "workspace"
	}
	return "organisation"
}

func (r *Router) mayByRole(ctx context.Context, c *call) error {
	current := r.Policy.Current()
	link, err := r.Links.Who(ctx, c.inv.By)
	person := link.Person
	switch {
	case err == nil:
		if err := r.activePerson(ctx, person.ID); err != nil {
			return err
		}
		c.who.Person = person
	case !errors.Is(err, identity.ErrUnlinked) && !errors.Is(err, identity.ErrAmbiguous):
		return err
	case c.spec.Access == AnyMember:
		return nil
	case c.spec.Access == ReadersToo && readsHere(current, c.inv.In):
		return nil
	case errors.Is(err, identity.ErrUnlinked):
		return unlinked(c.inv)
	default:
		return say("This chat account is linked to more than one person, so nothing is done.", "An admin keeps it in one entry of mdebot.yaml.")
	}
	if c.spec.Access == AnyMember || c.spec.Role == "" || person.Has(c.spec.Role) {
		return nil
	}
	if c.spec.Access == ReadersToo && readsHere(current, c.inv.In) {
		return nil
	}
	return say(c.spec.Name+" needs the role "+string(c.spec.Role)+", which you do not have.", "An admin adds it to your entry in mdebot.yaml; whoami shows what you have.")
}

// activePerson refuses people whom the directory has disabled or knows as guests,
// whatever their chat account says (threat-model I-10).
func (r *Router) activePerson(ctx context.Context, p identity.PersonID) error {
	if r.People == nil {
		return nil
	}
	standing, err := r.People.Standing(ctx, p)
	if err != nil {
		r.Logger.WarnContext(ctx, "standing in the directory not read", "person_id", p.String(), "error", err)
		const sentence = "The directory could not be asked about you, so nothing is done."
		if why, next, ok := defender.Explain(err); ok {
			return &sorry{sentence: chat.Plain(sentence), lines: []chat.Text{chat.Plain(why)}, next: chat.Plain(next + r.notWorking(ctx))}
		}
		return say(sentence, r.tryAgain(ctx))
	}
	if standing != identity.Member {
		return say("The directory does not know you as an active member of the organisation; you are: "+string(standing)+".", "Ask whoever manages accounts in Entra.")
	}
	return nil
}

// tryAgain is the next step of somebody who cannot be checked. Nobody could ask for
// status then, so it names the parts that do not work, and nothing about them.
func (r *Router) tryAgain(ctx context.Context) string {
	return "Try again in a moment." + r.notWorking(ctx)
}

// notWorking names the parts that do not work, after what else there is to say.
func (r *Router) notWorking(ctx context.Context) string {
	if r.Status == nil {
		return ""
	}
	var down []string
	for _, l := range r.Status.Status(ctx) {
		if !l.Good {
			down = append(down, l.Part)
		}
	}
	if len(down) == 0 {
		return ""
	}
	return " Not working at the moment: " + strings.Join(down, ", ") + "."
}

// readsHere reports whether full members may read in this conversation.
func readsHere(p *policy.Policy, in chat.Conversation) bool {
	return !in.Direct && slices.Contains(p.Readers(), in.String())
}

func unlinked(inv chat.Invocation) error {
	return instead(cards.Unlinked(inv.By, policy.PersonYAML(inv.By, inv.By.Name), withPrefix(prefix(inv), "whoami")))
}

// permitted checks that the Defender token has what s needs. When the token
// cannot be had, the call itself will tell.
func (r *Router) permitted(ctx context.Context, s *Spec) error {
	if len(s.Permissions) == 0 {
		return nil
	}
	granted, err := r.Defender.Permissions(ctx)
	if err != nil {
		return err
	}
	missing := missingPermissions(*s, granted)
	switch {
	case len(missing) == 0:
		return nil
	case !granted.Consented(missing[0][0]):
		no := notPermitted(s, missing)
		no.sentence = chat.Join(no.sentence, chat.Plain(" Nothing at all is granted on "+defender.ResourceOf(missing[0][0])+" yet, or the consent is minutes old."))
		return no
	}
	return notPermitted(s, missing)
}

func missingPermissions(s Spec, granted defender.Permissions) [][]string {
	var missing [][]string
	for _, anyOf := range s.Permissions {
		if !slices.ContainsFunc(anyOf, granted.Has) {
			missing = append(missing, anyOf)
		}
	}
	return missing
}

// Need is what a command needs of Defender.
type Need struct {
	Command     string
	Permissions string // in words, each with the resource it is granted on
	Granted     bool
}

// Needs lists what every command needs, in the order of help, and whether it is
// granted.
func Needs(granted defender.Permissions) []Need {
	var all []Need
	for _, s := range Specs() {
		if len(s.Permissions) > 0 {
			all = append(all, Need{Command: s.Name, Permissions: permissionText(s.Permissions), Granted: len(missingPermissions(s, granted)) == 0})
		}
	}
	return all
}

// record keeps an event about c.
func (r *Router) record(ctx context.Context, c *call, kind, outcome string, detail map[string]string) error {
	all := map[string]string{"command": c.spec.Name}
	for k, v := range detail {
		all[k] = v
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return r.Recorder.Record(ctx, audit.Event{
		Tenant: r.Tenant, At: r.Now(), Kind: kind,
		Person: c.who.Person.ID, PersonName: c.who.Person.Name, Account: c.inv.By,
		Conversation: c.inv.In.String(), Delivery: c.inv.Delivery,
		PolicyHash: r.Policy.Current().Hash(), Outcome: outcome, Detail: text,
	})
}
