package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
	"golang.org/x/sync/errgroup"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

func indicatorSpecs() []Spec {
	needs := [][]string{{defender.PermissionIndicators}}
	reason := Flag{Name: "reason", Value: "<why>", Summary: "the reason; the same as the words after the indicators", rest: true}
	return []Spec{
		{
			Name: approvals.Block, Usage: "block <hash|ip|domain|url|cert:thumbprint>… <reason> [--expires 7d] [--audit|--warn|--block]",
			Summary: "Ask to block something wherever Defender meets it; a second person must approve.",
			Role:    identity.Responder, Permissions: needs, Changes: true, SecondPerson: true,
			Flags: []Flag{
				{Name: "expires", Value: "7d", Summary: "how long it holds: 90m, 24h, 7d, up to 180d; without it, until somebody ends it"},
				{Name: "audit", Summary: "only raise an alert"},
				{Name: "warn", Summary: "warn people and let them go on"},
				{Name: "block", Summary: "block, as without a flag"},
				reason,
			},
			Examples: []string{"block evil[.]example beacon of the loader --expires 7d", "block 203.0.113.9,203.0.113.10 command and control --audit"},
			busy:     lookingUp, run: (*Router).block,
		},
		{
			Name: approvals.Unblock, Usage: "unblock <hash|ip|domain|url|cert:thumbprint> <reason>",
			Summary: "Ask to take an indicator away; a second person must approve.",
			Role:    identity.Responder, Permissions: needs, Changes: true, SecondPerson: true,
			Flags:    []Flag{reason},
			Examples: []string{"unblock evil[.]example it was the wrong name"},
			busy:     lookingUp, run: (*Router).unblock,
		},
		{
			Name: "indicators", Usage: "indicators [part of a value, type, effect or name]", Summary: "List what Defender blocks, warns of, audits or allows.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: needs,
			Flags: []Flag{publicFlag}, Examples: []string{"indicators", "indicators evil.example", "indicators audit"},
			busy: lookingUp, run: (*Router).indicators,
		},
	}
}

// typedIndicator is one word read as an indicator.
type typedIndicator struct {
	kind  defender.IndicatorType
	value string
}

// indicatorOf reads one word, defanged or not. Both results are empty for a word
// that is just a word; why says why something that looks like one cannot be taken.
func indicatorOf(word string) (i typedIndicator, why string) {
	typed := strings.Trim(word, `<>"'()*`)
	s := strings.Trim(refanged.Replace(typed), `<>"'.,;!?`)
	if before, after, ok := strings.Cut(s, ":"); ok && strings.HasPrefix("certificate", strings.ToLower(before)) && len(before) >= 4 {
		thumb := strings.ToLower(strings.NewReplacer(":", "", "-", "").Replace(after))
		if !hexWord.MatchString(thumb) || len(thumb) != 40 {
			return i, "a certificate is named by its SHA-1 thumbprint, 40 hexadecimal digits"
		}
		return typedIndicator{defender.IndicatorCertificate, thumb}, ""
	}
	switch {
	case hexWord.MatchString(s) && len(s) >= 32:
		kinds := map[int]defender.IndicatorType{32: defender.IndicatorMD5, 40: defender.IndicatorSHA1, 64: defender.IndicatorSHA256}
		if kinds[len(s)] == "" {
			return i, fmt.Sprintf("it has %d hexadecimal digits; an MD5 has 32, a SHA-1 40, a SHA-256 64", len(s))
		}
		return typedIndicator{kinds[len(s)], strings.ToLower(s)}, ""
	case scheme.MatchString(s):
		return indicatorURL(s)
	}
	if ip, ok := addressOf(s); ok {
		return typedIndicator{defender.IndicatorIP, ip}, ""
	}
	o, why := observableOf(typed)
	switch {
	case why != "" && strings.Contains(why, "range"):
		return i, "it is a range of addresses; Defender takes single ones"
	case why != "":
		return i, why
	case o.FromURL:
		return i, "write it with http:// or https://, or name the domain alone"
	case o.Kind != cards.ObservableDomain || o.Value == "":
		return i, ""
	}
	if suffix, _ := publicsuffix.PublicSuffix(o.Value); suffix == o.Value {
		return i, "everybody below it would be hit: it is a public ending, not a domain of somebody's"
	}
	return typedIndicator{defender.IndicatorDomain, o.Value}, ""
}

// indicatorURL makes a URL one spelling: scheme and host in lower case, the host
// as the network knows it, the rest as it is.
func indicatorURL(s string) (typedIndicator, string) {
	const unreadable = "it is no URL that can be read"
	before, rest, _ := strings.Cut(strings.Replace(s, "[:", ":", 1), ":")
	name := "http"
	if strings.HasSuffix(strings.ToLower(before), "s") {
		name = "https"
	}
	if strings.EqualFold(before, "ftp") || strings.EqualFold(before, "fxp") {
		return typedIndicator{}, "Defender takes http and https alone"
	}
	u, err := url.Parse(name + "://" + strings.TrimLeft(rest, "/"))
	if err != nil || u.Hostname() == "" || u.User != nil {
		return typedIndicator{}, unreadable
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if ip, ok := addressOf(host); ok {
		if strings.Contains(ip, ":") {
			ip = "[" + ip + "]"
		}
		host = ip
	} else {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil || !hostForm.MatchString(ascii) {
			return typedIndicator{}, unreadable
		}
		host = ascii
	}
	if port := u.Port(); port != "" {
		host += ":" + port
	}
	u.Host = host
	if u.Path == "" {
		u.Path = "/"
	}
	return typedIndicator{defender.IndicatorURL, u.String()}, ""
}

// indicatorOrder separates indicators from the reason as [orderOf] does machines.
func indicatorOrder(c *call) (found []typedIndicator, reason string, err error) {
	reason, named := c.flags["reason"]
	more := false
	i := 0
	for ; i < len(c.args); i++ {
		t := c.args[i]
		parts := strings.Split(t.text, ",")
		if t.quoted || strings.Contains(t.text, "://") {
			parts = []string{t.text}
		}
		var here []typedIndicator
		var no string
		for _, p := range parts {
			if p == "" {
				continue
			}
			one, why := indicatorOf(p)
			if why != "" || one.value == "" {
				no = p + ": " + why
				if why == "" {
					no = p + ": it is no hash, address, domain or URL"
				}
				break
			}
			here = append(here, one)
		}
		if no != "" {
			if i > 0 && !named && !more {
				break
			}
			return nil, "", &sorry{sentence: chat.Join(chat.Plain("That cannot be an indicator: "), chat.Untrusted(no), chat.Plain(".")), next: chat.Plain("Nothing was asked for. If the word belongs to the reason, put the reason in quotes.")}
		}
		if i > 0 && t.quoted && !named {
			break
		}
		for _, one := range here {
			if !slices.Contains(found, one) {
				found = append(found, one)
			}
		}
		more = !t.quoted && strings.HasSuffix(t.text, ",")
	}
	if !named {
		reason = wordsOf(c.args[i:])
	}
	reason = strings.TrimSpace(reason)
	switch {
	case len(found) == 0:
		err = usageError(c, "Which one? Give a hash, an address, a domain, a URL, or cert: and a thumbprint.")
	case reason == "":
		err = usageError(c, "A reason is needed: it is what the second person decides by.")
	case len(found) > maxTargets:
		err = say(fmt.Sprintf("That is %d indicators; one request takes %d at most.", len(found), maxTargets), "Ask for the rest in another request.")
	}
	return found, reason, err
}

func (r *Router) block(ctx context.Context, c *call) (chat.Message, error) {
	found, reason, err := indicatorOrder(c)
	if err != nil {
		return chat.Message{}, err
	}
	params := map[string]string{}
	for _, effect := range registry[approvals.Block].Params["effect"].Values {
		if c.flags[effect] == "" {
			continue
		}
		if params["effect"] != "" {
			return chat.Message{}, usageError(c, "Choose one of --audit, --warn and --block.")
		}
		params["effect"] = effect
	}
	if word, given := c.flags["expires"]; given {
		d, ok := parseAge(word)
		if !ok {
			return chat.Message{}, usageError(c, "--expires takes a time such as 90m, 24h or 7d, up to 180d.")
		}
		params["expires"] = r.Now().Add(d).UTC().Truncate(time.Second).Format(time.RFC3339)
	}
	return r.requestBlock(ctx, c, found, params, reason)
}

func (r *Router) requestBlock(ctx context.Context, c *call, found []typedIndicator, params map[string]string, reason string) (chat.Message, error) {
	all, err := r.allIndicators(ctx)
	if err != nil {
		return chat.Message{}, err
	}
	effect := registry[approvals.Block].With(params)["effect"]
	fresh := 0
	for _, i := range found {
		there := inForce(all, i, r.Now())
		switch {
		case there == nil:
			fresh++
		case strings.EqualFold(string(there.Action), effect) && params["expires"] == "" && there.Expires.IsZero():
			return chat.Message{}, &sorry{
				sentence: chat.Join(chat.Untrusted(i.value), chat.Plain(" is there already: "), chat.Untrusted(string(there.Action)), chat.Plain(", set by "), chat.Untrusted(there.CreatedBy), chat.Plain(".")),
				next:     chat.Join(chat.Plain("Nothing was asked for. See: "), chat.Code(withPrefix(prefix(c.inv), "indicators "+i.value))),
			}
		}
	}
	if len(all)+fresh > defender.MaxIndicators {
		return chat.Message{}, say(fmt.Sprintf("Defender takes %d indicators, and there are %d already.", defender.MaxIndicators, len(all)), "Take old ones away first: indicators lists them, unblock asks for it.")
	}
	in := approvals.OpenInput{
		Asked: c.asked(), Tenant: r.Tenant, Action: approvals.Block, Params: params, Reason: reason,
		Targets: make([]approvals.TargetInput, len(found)),
	}
	var group errgroup.Group
	group.SetLimit(lookUps)
	for n, i := range found {
		group.Go(func() error {
			facts, err := r.indicatorFacts(ctx, i, inForce(all, i, r.Now()))
			if err != nil {
				return err
			}
			in.Targets[n], err = indicatorTarget(i, facts)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return chat.Message{}, err
	}
	opened, err := r.Approvals.Open(ctx, in)
	if err != nil {
		return chat.Message{}, err
	}
	return openedMessage(opened), nil
}

func indicatorTarget(i typedIndicator, facts cards.IndicatorFacts) (approvals.TargetInput, error) {
	encoded, err := json.Marshal(facts)
	return approvals.TargetInput{ID: approvals.IndicatorID(string(i.kind), i.value), Name: i.value, Facts: encoded, Own: facts.OurMachine != ""}, err
}

func (r *Router) unblock(ctx context.Context, c *call) (chat.Message, error) {
	found, reason, err := indicatorOrder(c)
	if err != nil {
		return chat.Message{}, err
	}
	if len(found) > 1 {
		return chat.Message{}, usageError(c, "unblock takes one at a time.")
	}
	return r.requestUnblock(ctx, c, found[0], reason)
}

func (r *Router) requestUnblock(ctx context.Context, c *call, i typedIndicator, reason string) (chat.Message, error) {
	all, err := r.allIndicators(ctx)
	if err != nil {
		return chat.Message{}, err
	}
	there := inForce(all, i, r.Now())
	if there == nil {
		return chat.Message{}, sayOf("There is no indicator of ", i.value, ".", "Nothing was asked for. indicators lists them.")
	}
	facts, err := r.indicatorFacts(ctx, i, there)
	if err != nil {
		return chat.Message{}, err
	}
	target, err := indicatorTarget(i, facts)
	if err != nil {
		return chat.Message{}, err
	}
	opened, err := r.Approvals.Open(ctx, approvals.OpenInput{
		Asked: c.asked(), Tenant: r.Tenant, Action: approvals.Unblock, Params: map[string]string{"indicator": there.ID}, Reason: reason,
		Targets: []approvals.TargetInput{target},
	})
	if err != nil {
		return chat.Message{}, err
	}
	return openedMessage(opened), nil
}

// allIndicators are those of the tenant. One that cannot be read is a fault: what
// is left out might be the one that matters.
func (r *Router) allIndicators(ctx context.Context) ([]defender.Indicator, error) {
	var all []defender.Indicator
	for i, err := range r.Indicators.Indicators(ctx, "") {
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

func inForce(all []defender.Indicator, i typedIndicator, now time.Time) *defender.Indicator {
	for n := range all {
		if all[n].Type == i.kind && strings.EqualFold(all[n].Value, i.value) && (all[n].Expires.IsZero() || all[n].Expires.After(now)) {
			return &all[n]
		}
	}
	return nil
}

// indicatorFacts reads what an indicator would hit. What cannot be read is named as
// missing, but whether it is one of our machines must be known.
func (r *Router) indicatorFacts(ctx context.Context, i typedIndicator, there *defender.Indicator) (cards.IndicatorFacts, error) {
	judged := r.Policy.Current().IndicatorOf(string(i.kind), i.value)
	f := cards.IndicatorFacts{Type: string(i.kind), Value: i.value, Private: judged.Private, Own: judged.Own, ReadAt: r.Now()}
	if there != nil {
		f.There = cards.There(*there)
	}
	host := i.value
	if i.kind == defender.IndicatorURL {
		if u, err := url.Parse(i.value); err == nil {
			host = u.Hostname()
		}
	}
	var seen defender.Sightings
	var err error
	permission := defender.PermissionURLRead
	switch i.kind {
	case defender.IndicatorSHA1, defender.IndicatorSHA256:
		file := r.fileFacts(ctx, i.value)
		f.File = &file
		return f, nil
	case defender.IndicatorMD5, defender.IndicatorCertificate:
		f.Unread = "Defender has no call that tells"
		return f, nil
	case defender.IndicatorIP:
		permission = defender.PermissionIPRead
		seen, err = r.Defender.IPSightings(ctx, i.value)
	default:
		if ip, ok := addressOf(host); ok {
			permission = defender.PermissionIPRead
			seen, err = r.Defender.IPSightings(ctx, ip)
		} else {
			seen, err = r.Defender.DomainSightings(ctx, host)
		}
	}
	switch {
	case errors.Is(err, defender.ErrNotFound):
	case err != nil:
		f.Unread = whyUnread(err, permission)
	}
	f.Machines, f.First, f.Last = seen.Prevalence, seen.First, seen.Last
	found, err := r.Defender.FindMachines(ctx, host)
	if err != nil {
		return f, err
	}
	if len(found.Machines) > 0 && found.Match != defender.MatchPrefix {
		f.Own, f.OurMachine = true, found.Machines[0].Name+" "+found.Machines[0].ID
	}
	return f, nil
}

func (r *Router) indicators(ctx context.Context, c *call) (chat.Message, error) {
	all, err := r.allIndicators(ctx)
	if err != nil {
		return chat.Message{}, err
	}
	found, what := all, chat.Text(nil)
	if words := strings.TrimSpace(c.words(0)); words != "" {
		want := strings.ToLower(refanged.Replace(words))
		what = chat.Join(chat.Plain("with "), chat.Untrusted(words))
		found = slices.DeleteFunc(slices.Clone(all), func(i defender.Indicator) bool {
			return !strings.Contains(strings.ToLower(strings.Join([]string{i.Value, string(i.Type), string(i.Action), i.CreatedBy, i.Title}, "\n")), want)
		})
	}
	slices.SortStableFunc(found, func(a, b defender.Indicator) int { return b.Created.Compare(a.Created) })
	return cards.IndicatorList(found[:min(len(found), listed)], what, len(all), len(found) > listed), nil
}

// indicatorsAgain asks for indicators of an earlier request once more, until the
// same moment.
func (r *Router) indicatorsAgain(ctx context.Context, c *call, p approvals.Prefill, reason string) (chat.Message, error) {
	var found []typedIndicator
	for _, t := range p.Targets {
		kind, value := approvals.ParseIndicatorID(t.ID)
		found = append(found, typedIndicator{defender.IndicatorType(kind), value})
	}
	if p.Action == approvals.Unblock {
		return r.requestUnblock(ctx, c, found[0], reason)
	}
	return r.requestBlock(ctx, c, found, p.Params, reason)
}
