package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// PlaygroundPerson is who uses Microsoft's Agents Playground: it has one user.
var PlaygroundPerson = Avery

// Conversations of the Playground. They are not those of the simulated Teams, so
// nothing that is posted there goes to the Playground instead.
const (
	PlaygroundChat    = "a:1playground"
	PlaygroundChannel = "19:playground-soc@thread.tacv2"
	playgroundTeam    = "19:playground@thread.tacv2"
	playgroundGroup   = "19:playground-group@thread.v2"
)

// maxActivity is more than Teams lets anybody send.
const maxActivity = 256 << 10

// playground is a relay between Microsoft's Agents Playground and the bot. The
// Playground shows Teams cards as Microsoft draws them, and signs nothing. The
// relay does what the real service does with what a client sends: it looks at it,
// signs it with Bot Connector's key and delivers it. In the other direction it
// checks the bot's token, and hands the call to the Playground without it.
//
// What it signs, the bot believes, so it is as choosy as the service: activities
// of the one person in the one tenant, from a program on this machine that knows
// an address which is made up anew at each start. Browsers are refused.
type playground struct {
	teams  *teamssim.Server
	verify func(token string) error
	key    string // of the address for activities

	mu        sync.Mutex
	base      string
	connector *url.URL // of the running Playground
}

func newPlayground(teams *teamssim.Server, entra *entrasim.Server) *playground {
	return &playground{teams: teams, key: rand.Text(), verify: func(token string) error {
		_, err := entra.Verify(token, entrasim.BotFramework)
		return err
	}}
}

// connect says where the Playground takes the bot's calls; nil means that it does
// not run.
func (p *playground) connect(connector *url.URL) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connector = connector
}

// serviceURL is where the bot answers.
func (p *playground) serviceURL() string { return p.base + "/emea/" + TenantID + "/" }

// endpoint is where the Playground sends activities.
func (p *playground) endpoint() string { return p.base + "/" + p.key + "/api/messages" }

// ServeHTTP implements http.Handler.
func (p *playground) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	connector := p.connector
	p.mu.Unlock()
	rest, calls := strings.CutPrefix(r.URL.EscapedPath(), "/emea/"+TenantID+"/v3/")
	switch {
	case !loopback(r.Host) || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "":
		writeError(w, http.StatusForbidden, "The relay is for the Playground and the bot on this machine.")
	case connector == nil:
		writeError(w, http.StatusServiceUnavailable, "The Playground is not running.")
	case r.URL.Path == "/"+p.key+"/api/messages" && r.Method == http.MethodPost:
		p.deliver(w, r)
	case calls:
		p.answer(w, r, connector, rest)
	default:
		writeError(w, http.StatusNotFound, "There is nothing here.")
	}
}

// deliver takes an activity of the Playground to the bot.
func (p *playground) deliver(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxActivity))
	if err != nil {
		writeError(w, http.StatusRequestEntityTooLarge, "The activity is too long.")
		return
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		writeError(w, http.StatusUnsupportedMediaType, "An activity is JSON.")
		return
	}
	if err := p.check(body); err != nil {
		writeError(w, http.StatusForbidden, err.Error())
		return
	}
	reply, err := p.teams.Deliver(r.Context(), teamssim.Delivery{
		Body: body, Authorization: []string{"Bearer " + p.teams.Token(p.serviceURL())},
	})
	if err != nil {
		writeError(w, http.StatusBadGateway, "The bot does not answer.")
		return
	}
	w.Header().Set("Content-Type", reply.Header.Get("Content-Type"))
	w.WriteHeader(reply.Status)
	_, _ = w.Write(reply.Body) // the Playground may be gone
}

// check tells whether the service would sign an activity.
func (p *playground) check(body []byte) error {
	var a struct {
		ChannelID    string `json:"channelId"`
		ServiceURL   string `json:"serviceUrl"`
		From         struct{ ID, AADObjectID string }
		Recipient    struct{ ID string }
		Conversation struct{ ID, TenantID string }
		ChannelData  struct{ Tenant struct{ ID string } }
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return refused("The body is no activity.")
	}
	place, _, _ := strings.Cut(a.Conversation.ID, ";messageid=")
	switch {
	case a.ChannelID != "msteams" || a.ServiceURL != p.serviceURL() || a.Recipient.ID != p.teams.BotID():
		return refused("The activity is not for the bot in Teams.")
	case a.ChannelData.Tenant.ID != TenantID || a.Conversation.TenantID != TenantID:
		return refused("The activity is of another tenant.")
	case a.From.ID != mri(PlaygroundPerson) || a.From.AADObjectID != PlaygroundPerson.Object:
		return refused("The activity is of somebody else.")
	case place != PlaygroundChat && place != PlaygroundChannel && place != playgroundTeam && place != playgroundGroup:
		return refused("The activity is from another conversation.")
	}
	return nil
}

// answer takes a call of the bot to the Playground's connector.
func (p *playground) answer(w http.ResponseWriter, r *http.Request, connector *url.URL, rest string) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || p.verify(token) != nil {
		writeError(w, http.StatusUnauthorized, "The call does not carry the bot's token.")
		return
	}
	target, err := url.Parse(connector.String() + "/v3/" + byAddress(rest))
	if err != nil {
		writeError(w, http.StatusBadRequest, "The address is malformed.")
		return
	}
	proxy := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			query := pr.Out.URL.RawQuery
			pr.Out.URL, pr.Out.Host = target, target.Host
			pr.Out.URL.RawQuery = query
			pr.Out.Header.Del("Authorization") // the token is for the service alone
		},
	}
	proxy.ServeHTTP(w, r)
}

// byAddress asks about a member by address, the one name that the Playground
// knows; Teams takes an object ID as well.
func byAddress(path string) string {
	rest, object, found := strings.Cut(path, "/members/")
	if !found {
		return path
	}
	for _, p := range People() {
		if object == p.Object {
			return rest + "/members/" + url.PathEscape(mri(p))
		}
	}
	return path
}

// mri is a person's address in Teams.
func mri(p Person) string { return teamssim.User{Object: p.Object}.MRI() }

//go:embed playground.cjs
var playgroundLoopback []byte

// playgroundConfig describes the company to the Playground. It is YAML, of which
// JSON is a part; the Playground requires five people beside its user.
func playgroundConfig() ([]byte, error) {
	type user struct {
		ID        string `json:"id"`
		Name      string `json:"name"`
		Principal string `json:"userPrincipleName"` // spelt so there
		Object    string `json:"aadObjectId"`
		Given     string `json:"givenName"`
		Surname   string `json:"surname"`
		Email     string `json:"email"`
	}
	var me user
	var others []user
	for _, p := range People() {
		given, surname, _ := strings.Cut(p.Name, " ")
		email := p.Key + "@contoso.example"
		u := user{ID: mri(p), Name: p.Name, Principal: email, Object: p.Object, Given: given, Surname: surname, Email: email}
		if p == PlaygroundPerson {
			me = u
		} else {
			others = append(others, u)
		}
	}
	return json.Marshal(map[string]any{
		"version": "0.1.1", "tenantId": TenantID,
		"bot":          map[string]string{"id": "28:" + teamsAppID, "name": "mdebot"},
		"currentUser":  me,
		"users":        others,
		"personalChat": map[string]string{"id": PlaygroundChat},
		"groupChat":    map[string]string{"id": playgroundGroup, "name": "Group chat"},
		"team": map[string]any{
			"id": playgroundTeam, "name": "Playground", "aadGroupId": "6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f0aa",
			"channels": []map[string]string{{"id": PlaygroundChannel, "name": "SOC"}},
		},
	})
}

// StartPlayground runs Microsoft's Agents Playground, whose program is the cli.js
// of the npm package @microsoft/m365agentsplayground, until ctx ends, and returns
// the address of its page. The world needs Options.Playground, and the bot must be
// connected. The returned function waits for its end.
func (w *World) StartPlayground(ctx context.Context, program string, port int) (address string, wait func() error, err error) {
	dir, err := os.MkdirTemp("", "mdebot-playground-")
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	config, err := playgroundConfig()
	if err != nil {
		return "", nil, err
	}
	if program, err = filepath.Abs(program); err != nil {
		return "", nil, err
	}
	log := filepath.Join(dir, "playground.log")
	for name, content := range map[string][]byte{"playground.yml": config, "loopback.cjs": playgroundLoopback} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return "", nil, err
		}
	}
	cmd := exec.CommandContext(ctx, "node", "--require", filepath.Join(dir, "loopback.cjs"), program, "start",
		"--app-endpoint", w.playground.endpoint(), "--service-url", w.playground.serviceURL(),
		"--channel-id", "msteams", "--port", strconv.Itoa(port), "--disable-telemetry")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"M365_AGENTS_PLAYGROUND_CONFIG_PATH="+filepath.Join(dir, "playground.yml"),
		"M365_AGENTS_PLAYGROUND_LOGFILE="+log,
		"TEAMSAPPTESTER_BROWSER=none", // it would open one by itself
	)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start the Playground: %w", err)
	}
	ended := func() error {
		err := cmd.Wait()
		if ctx.Err() != nil {
			err = nil // it was asked to end
		}
		return errors.Join(err, os.RemoveAll(dir))
	}
	// It says where it listens before it has read its configuration.
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		chosen, found := strings.CutPrefix(lines.Text(), "Listening on ")
		if !found {
			continue
		}
		address = "http://localhost:" + strings.TrimSpace(chosen)
		connector, err := url.Parse(address + "/_connector")
		if err != nil {
			break
		}
		w.playground.connect(connector)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, out)
		}()
		return address, func() error {
			<-drained
			return ended()
		}, nil
	}
	said, _ := os.ReadFile(log) // to say more
	return "", nil, errors.Join(fmt.Errorf("start the Playground: it ended: %s", bytes.TrimSpace(said)), cmd.Wait())
}
