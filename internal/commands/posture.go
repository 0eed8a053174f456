package commands

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

func postureSpecs() []Spec {
	return append(incidentSpecs(), []Spec{
		{
			Name: "user", Usage: "user <account>", Summary: "Where an account was seen, and its alerts; the answer comes to you alone.",
			Role: identity.Viewer, Permissions: [][]string{{defender.PermissionAlertRead, defender.PermissionMachineWrite}}, Audience: chat.Personal,
			Examples: []string{"user riley.chen", `user CORP\riley.chen`},
			busy:     lookingUp, run: (*Router).user,
		},
		{
			Name: "cve", Usage: "cve <id>", Summary: "What a vulnerability is, and which machines it concerns.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: [][]string{{defender.PermissionVulnerabilityRead}},
			Flags: []Flag{publicFlag}, Examples: []string{"cve CVE-2021-44228"},
			busy: lookingUp, run: (*Router).cve,
		},
		{
			Name: "score", Usage: "score", Summary: "The tenant's exposure score and Microsoft Secure Score for Devices.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: [][]string{{defender.PermissionScoreRead}},
			Flags: []Flag{publicFlag}, Examples: []string{"score"},
			run: (*Router).score,
		},
		{
			Name: "software", Usage: "software <part of a name>", Summary: "Products in the inventory with their weaknesses.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: [][]string{{defender.PermissionSoftwareRead}},
			Flags: []Flag{publicFlag}, Examples: []string{"software log4j", "software internet explorer"},
			busy: lookingUp, run: (*Router).software,
		},
		{
			Name: "tag", Usage: "tag <machine>… +tag… -tag… [--reason <why>]", Summary: "Add tags to machines or remove them; a second person must approve for one that a rule reads.",
			Role: identity.Responder, Permissions: [][]string{{defender.PermissionMachineWrite}}, Changes: true, SecondByRule: true,
			Flags:    []Flag{{Name: "reason", Value: "<why>", Summary: "needed for a tag that a rule reads", rest: true}},
			Examples: []string{"tag ws-042 +under-investigation", "tag ws-042 +reimaged -under-investigation", `tag ws-042,ws-043 "+legal hold"`, "tag ws-042 +tier0 --reason it holds the certificate keys"},
			run:      (*Router).tag,
		},
	}...)
}

// user reads what is known about an account. Only the name before "@" and after
// the domain is asked for: Defender takes no more.
func (r *Router) user(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) != 1 {
		return chat.Message{}, usageError(c, "Give one account.")
	}
	account := c.arg(0)
	if i := strings.LastIndexAny(account, `\/`); i >= 0 {
		account = account[i+1:]
	}
	account, _, _ = strings.Cut(account, "@")
	granted, err := r.Defender.Permissions(ctx)
	if err != nil {
		return chat.Message{}, err
	}
	v := cards.UserView{Account: account, Now: r.Now(), Portal: r.Portal}
	var wg sync.WaitGroup
	for _, part := range []struct {
		permission string
		unread     *string
		ask        func() error
	}{
		{defender.PermissionMachineWrite, &v.MachinesUnread, func() (err error) {
			v.Machines, err = r.Defender.UserMachines(ctx, account)
			return err
		}},
		{defender.PermissionAlertRead, &v.AlertsUnread, func() (err error) {
			v.Alerts, err = r.Defender.UserAlerts(ctx, account)
			return err
		}},
	} {
		if !granted.Has(part.permission) {
			*part.unread = "not permitted: " + part.permission
			continue
		}
		wg.Go(func() {
			if err := part.ask(); err != nil {
				*part.unread = whyUnread(err, part.permission)
			}
		})
	}
	wg.Wait()
	if err := r.record(ctx, c, "user.read", "ok", map[string]string{"account": account}); err != nil {
		return chat.Message{}, err
	}
	return cards.User(v), nil
}

func (r *Router) cve(ctx context.Context, c *call) (chat.Message, error) {
	id := strings.ToUpper(c.arg(0))
	if len(c.args) != 1 || !strings.HasPrefix(id, "CVE-") {
		return chat.Message{}, usageError(c, "Give one ID such as CVE-2021-44228.")
	}
	known, err := r.Defender.Vulnerability(ctx, id)
	if err != nil {
		return chat.Message{}, err
	}
	v := cards.VulnerabilityView{Vulnerability: known}
	if v.Machines, err = r.Defender.ExposedMachines(ctx, id); err != nil {
		v.MachinesUnread = whyUnread(err, defender.PermissionVulnerabilityRead)
	}
	return cards.Vulnerability(v), nil
}

func (r *Router) score(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) > 0 {
		return chat.Message{}, usageError(c, "score takes nothing; it is about the whole tenant.")
	}
	var v cards.ScoreView
	var wg sync.WaitGroup
	read := func(ask func(context.Context) (defender.Score, error), into *defender.Score, unread *string) {
		wg.Go(func() {
			s, err := ask(ctx)
			if err != nil {
				*unread = whyUnread(err, defender.PermissionScoreRead)
			}
			*into = s
		})
	}
	read(r.Defender.ExposureScore, &v.Exposure, &v.ExposureUnread)
	read(r.Defender.SecureScore, &v.Secure, &v.SecureUnread)
	wg.Wait()
	return cards.Score(v), nil
}

func (r *Router) software(ctx context.Context, c *call) (chat.Message, error) {
	words := c.words(0)
	if words == "" {
		return chat.Message{}, usageError(c, "Give a part of a product's name.")
	}
	found, err := r.Defender.Software(ctx, words)
	if err != nil {
		return chat.Message{}, err
	}
	slices.SortStableFunc(found, func(a, b defender.Software) int { return int(b.ExposedMachines - a.ExposedMachines) })
	return cards.SoftwareList(found[:min(len(found), listed)], words, len(found) > listed), nil
}
