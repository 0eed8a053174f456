package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/identity"
)

// digest hashes what the policy says, with defaults spelled out. The order of
// rules and routes is part of that; the order of people and groups is not.
func (p *Policy) digest() string {
	type tenantContent struct {
		Tenant
		Approvers   int
		ExpireAfter int64
		Routes      []string
	}
	type rule struct {
		Name, When string
		Approvers  int
		From       []string
		Then       []string `json:",omitempty"` // came later: a file without it keeps its hash
	}
	type route struct {
		Name, When  string
		To, Mention []string
		AllowGuests bool `json:",omitempty"`
	}
	type scope struct {
		For      []string
		Machines string
	}
	content := struct {
		People                     []identity.Person
		Groups                     []Group
		Readers, PostTo, Mention   []string
		ExpireAfter, ExecuteWithin int64
		Limits                     Limits
		Rules                      []rule
		Protected                  []string
		Ops, Fallback              string
		Page                       string   `json:",omitempty"` // came later: a file without it keeps its hash
		StepUp                     string   `json:",omitempty"`
		Ticket                     string   `json:",omitempty"`
		Own                        []string `json:",omitempty"`
		LookBack, BlindAfter       int64
		Routes                     []route
		Storm                      Storm
		Hunting                    []HuntGrant
		Hunts                      []Hunt `json:",omitempty"`
		Retention                  Retention
		Scopes                     []scope         `json:",omitempty"`
		Tenants                    []tenantContent `json:",omitempty"`
		AllTenants                 []string        `json:",omitempty"`
		ApprovalGuests             bool            `json:",omitempty"`
		NotifyGuests               bool            `json:",omitempty"`
		ForgottenAfter             int64           `json:",omitempty"` // but for the default
		Schedules                  []ScheduledHunt `json:",omitempty"`
		Digests                    []Digest        `json:",omitempty"`
	}{
		People:        p.book.People(),
		Groups:        p.groups,
		Readers:       p.readers,
		PostTo:        p.postTo,
		Mention:       p.mention,
		ExpireAfter:   int64(p.expireAfter),
		ExecuteWithin: int64(p.executeWithin),
		Limits:        p.limits,
		Ops:           p.ops,
		Fallback:      p.fallback,
		Page:          p.page,
		StepUp:        p.stepUp,
		Own:           p.own(),
		LookBack:      int64(p.lookBack),
		BlindAfter:    int64(p.blindAfter),
		Storm:         p.storm,
		Hunting:       p.hunting,
		Hunts:         p.hunts,
		Retention:     p.retention,
		AllTenants:    p.allTenants,

		ApprovalGuests: p.approvalGuests,
		NotifyGuests:   p.notifyGuests,
		Schedules:      p.scheduled,
		Digests:        p.digests,
	}
	if p.forgottenAfter != defaultForgotten {
		content.ForgottenAfter = int64(p.forgottenAfter)
	}
	for _, t := range p.tenants {
		one := tenantContent{Tenant: t, Approvers: t.approvers, ExpireAfter: int64(t.expireAfter)}
		for _, r := range t.routes {
			text := r.Name + "\n" + r.When + "\n" + strings.Join(r.To, " ") + "\n" + strings.Join(r.Mention, " ")
			if r.AllowGuests {
				text += "\nallow_guests"
			}
			one.Routes = append(one.Routes, text)
		}
		content.Tenants = append(content.Tenants, one)
	}
	if p.ticket != nil {
		content.Ticket = p.ticket.String()
	}
	for _, g := range p.scopes {
		content.Scopes = append(content.Scopes, scope{g.groups, g.written})
	}
	slices.SortFunc(content.People, func(a, b identity.Person) int {
		return cmp.Compare(a.ID.String(), b.ID.String())
	})
	for _, r := range p.rules {
		content.Rules = append(content.Rules, rule{r.Name, r.When, r.Approvers, r.From, r.Then})
	}
	for _, pr := range p.protected {
		content.Protected = append(content.Protected, pr.written)
	}
	for _, r := range p.routes {
		content.Routes = append(content.Routes, route{r.Name, r.When, r.To, r.Mention, r.AllowGuests})
	}
	encoded, err := json.Marshal(content)
	if err != nil {
		panic(fmt.Sprintf("policy: encode %T: %v", content, err)) // strings and numbers always encode
	}
	sum := sha256.Sum256(append([]byte("mdebot/policy/v1\n"), encoded...))
	return hex.EncodeToString(sum[:])
}
