package teamsbot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/identity"
)

const standingAge = 5 * time.Minute

// standings caches what Teams said about people, and where each was seen last,
// because a person can only be looked up in a conversation.
type standings struct {
	now func() time.Time

	mu     sync.Mutex
	places map[string]string // principal key → conversation ID
	known  map[string]knownStanding
}

type knownStanding struct {
	standing identity.Standing
	at       time.Time
}

func newStandings(now func() time.Time) *standings {
	return &standings{now: now, places: map[string]string{}, known: map[string]knownStanding{}}
}

func (s *standings) saw(p identity.Principal, conversation string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.places) >= maxStanding {
		clear(s.places) // they can be looked up in the personal chat
	}
	s.places[p.Key()] = conversation
}

func (s *standings) cached(p identity.Principal) (identity.Standing, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.known[p.Key()]
	return k.standing, ok && s.now().Sub(k.at) < standingAge
}

func (s *standings) put(p identity.Principal, st identity.Standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxStanding {
		clear(s.known)
	}
	s.known[p.Key()] = knownStanding{st, s.now()}
}

func (s *standings) place(p identity.Principal) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places[p.Key()]
}

// member is what Teams tells about somebody in a conversation. The object ID has
// two names, depending on the call.
type member struct {
	ID            string `json:"id"`
	AADObjectID   string `json:"aadObjectId"`
	ObjectID      string `json:"objectId"`
	TenantID      string `json:"tenantId"`
	UserRole      string `json:"userRole"`
	PrincipalName string `json:"userPrincipalName"`
}

// Standing implements [identity.Directory]. The account is looked up where it was
// seen last or in its personal chat; what Teams does not tell clearly is an
// error.
func (b *Bot) Standing(ctx context.Context, p identity.Principal) (identity.Standing, error) {
	if p.Platform != identity.Teams || !isGUID(p.Account) {
		return identity.Unknown, fmt.Errorf("look up %s: not a Teams account", p)
	}
	if st, ok := b.standings.cached(p); ok {
		return st, nil
	}
	m, err := b.member(ctx, p, b.standings.place(p))
	if err != nil {
		return identity.Unknown, err
	}
	st, err := m.standing(p)
	if err != nil {
		return identity.Unknown, err
	}
	b.standings.put(p, st)
	return st, nil
}

// member asks in the conversation given and, when the person is not there any
// more or none is given, in the personal chat.
func (b *Bot) member(ctx context.Context, p identity.Principal, conversation string) (member, error) {
	if conversation != "" {
		m, err := b.memberOf(ctx, p, conversation)
		var refused *ConnectorError
		if err == nil || !errors.As(err, &refused) || refused.StatusCode != http.StatusNotFound && refused.StatusCode != http.StatusForbidden {
			return m, err
		}
	}
	personal, err := b.personalChat(ctx, p)
	if err != nil {
		return member{}, err
	}
	return b.memberOf(ctx, p, personal.ID)
}

func (b *Bot) memberOf(ctx context.Context, p identity.Principal, conversation string) (member, error) {
	serviceURL, err := b.serviceURL(ctx, p.Workspace, conversation)
	if err != nil {
		return member{}, err
	}
	var m member
	err = b.connector.do(ctx, request{
		op: "look up member", method: http.MethodGet, serviceURL: serviceURL,
		path: []string{"conversations", conversation, "members", p.Account},
	}, &m)
	return m, err
}

func (m member) object() string {
	if m.AADObjectID != "" {
		return m.AADObjectID
	}
	return m.ObjectID
}

func (m member) guest() bool {
	return m.UserRole == "guest" || strings.Contains(strings.ToUpper(m.PrincipalName), "#EXT#")
}

func (m member) standing(p identity.Principal) (identity.Standing, error) {
	switch {
	case m.UserRole == "anonymous":
		return identity.Outsider, nil
	case !strings.EqualFold(m.object(), p.Account):
		return identity.Unknown, errors.New("look up member: Teams answered about another account")
	case m.TenantID == "":
		return identity.Unknown, errors.New("look up member: Teams named no tenant")
	case !strings.EqualFold(m.TenantID, p.Workspace):
		return identity.Outsider, nil
	case m.guest():
		return identity.Guest, nil
	case m.UserRole == "user":
		return identity.Member, nil
	default:
		return identity.Unknown, errors.New("look up member: Teams named no role")
	}
}
