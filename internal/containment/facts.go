package containment

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

// barred asks about the accounts that asked and approved, and returns the people
// who may not take part now. A standing that cannot be read is an error.
func (x *Runner) barred(ctx context.Context, r approvals.Request) (map[identity.PersonID]string, error) {
	barred := make(map[identity.PersonID]string)
	ask := func(person identity.PersonID, account identity.Principal) error {
		standing, err := x.directory.Standing(ctx, account)
		if err != nil {
			return fmt.Errorf("look up %s: %w", account, err)
		}
		if standing != identity.Member {
			barred[person] = fmt.Sprintf("the account %s is now %s", account, standing)
			return nil
		}
		if x.people == nil {
			return nil
		}
		standing, err = x.people.Standing(ctx, person)
		if err != nil {
			return fmt.Errorf("look up person %s: %w", person, err)
		}
		if standing != identity.Member {
			barred[person] = fmt.Sprintf("in the directory, %s is now %s", person, standing)
		}
		return nil
	}
	if err := ask(r.Requester, r.RequesterAs); err != nil {
		return nil, err
	}
	for _, v := range r.Votes {
		if err := ask(v.By, v.As); err != nil {
			return nil, err
		}
	}
	return barred, nil
}

// changed says what makes the machine another one than people decided about.
func changed(r approvals.Request, t approvals.Target, m defender.Machine) string {
	switch {
	case m.Tenant != r.Tenant:
		return "The machine belongs to another Defender tenant."
	case m.MergedInto != "":
		return fmt.Sprintf("Defender has merged this machine record into %s; ask again for that one.", clean(m.MergedInto, 60))
	case m.Excluded:
		return "Defender now excludes this machine record, which it does with duplicates; look the machine up again."
	case t.Name != "" && !strings.EqualFold(m.Name, t.Name):
		return fmt.Sprintf("The machine was called %s when people decided and is called %s now.", clean(t.Name, 60), clean(m.Name, 60))
	case setUpAnew(t.Facts, m):
		return "The machine has been set up anew since it was shown; look at it and ask again."
	}
	return ""
}

// setUpAnew compares what the card was drawn from with what Defender says now: a
// machine that is installed again keeps its name, and may keep its ID, but is
// another one to the directory and begins anew (threat-model A-10).
func setUpAnew(facts []byte, m defender.Machine) bool {
	var shown struct {
		OS          string    `json:"os"`
		FirstSeen   time.Time `json:"first_seen"`
		EntraDevice string    `json:"entra_device"`
	}
	if json.Unmarshal(facts, &shown) != nil {
		return false // of an older version; the rules are judged by fresh facts anyway
	}
	return shown.EntraDevice != "" && m.EntraDeviceID != "" && !strings.EqualFold(shown.EntraDevice, m.EntraDeviceID) ||
		!shown.FirstSeen.IsZero() && !m.FirstSeen.IsZero() && !shown.FirstSeen.Equal(m.FirstSeen) ||
		shown.OS != "" && m.OS != "" && shown.OS != m.OS
}

func machineFacts(m defender.Machine) *policy.Machine {
	return &policy.Machine{
		ID: m.ID, Name: strings.ToLower(m.Name), OS: m.OS, Tags: m.Tags, Group: m.Group,
		Risk: m.Risk, Exposure: m.Exposure, Value: m.Value, Health: m.Health,
	}
}
