package slackbot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const defaultAPIURL = "https://slack.com/api/"

// Config says which app mdebot is. With AppToken it uses Socket Mode and serves
// no HTTP routes; otherwise SigningSecret authenticates them.
type Config struct {
	BotToken      string `env:"SLACK_BOT_TOKEN"`
	SigningSecret string `env:"SLACK_SIGNING_SECRET"`
	AppToken      string `env:"SLACK_APP_TOKEN"`
	// APIURL is the Web API's address; empty means Slack's.
	APIURL string `env:"SLACK_API_URL"`

	// Transport carries all outgoing calls, also the websocket's; nil means a
	// clone of http.DefaultTransport.
	Transport *http.Transport
	// Around, unless nil, puts a watcher around every call of the Web API and to
	// response addresses. It must hand on requests and errors as they are.
	Around func(http.RoundTripper) http.RoundTripper
	// OnSocket, unless nil, is told of every connection of Socket Mode that came
	// about or did not.
	OnSocket func(connected bool)
	// Refused is told of authentic deliveries that are not taken.
	Refused chat.RefusedListener
	// OnAck, unless nil, is told how long a delivery over Socket Mode took to
	// acknowledge.
	OnAck func(took time.Duration)
	// OnFile, unless nil, is told of each file that went out with an answer to one
	// person, so that it can be deleted in time. See [Bot.DeleteFile].
	OnFile func(ctx context.Context, file string)
	// OnHome, unless nil, is told whose Home tab should be brought up to date: they
	// have opened it, or something was done from it. See [Bot.Publish].
	OnHome func(ctx context.Context, account identity.Principal)
	// Guests says whether guests of a channel may read answers there; nil means
	// nowhere.
	Guests func(chat.Destination) bool
	// Now is the clock for signatures, caches and deadlines; nil means time.Now.
	Now func() time.Time
}

// Enabled reports whether anything of Slack is configured.
func (c Config) Enabled() bool {
	return c.BotToken != "" || c.SigningSecret != "" || c.AppToken != ""
}

// Validate reports every fault of c in one error.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if err := checkSecret(c.BotToken, "xoxb-"); err != nil {
		fault("SLACK_BOT_TOKEN %w; copy the bot token from the app's page “OAuth & Permissions”", err)
	}
	if c.AppToken != "" {
		if err := checkSecret(c.AppToken, "xapp-"); err != nil {
			fault("SLACK_APP_TOKEN %w; copy an app-level token with the scope connections:write from “Basic Information”", err)
		}
	} else if err := checkSigning(c.SigningSecret); err != nil {
		fault("SLACK_SIGNING_SECRET %w; copy it from “Basic Information”, or set SLACK_APP_TOKEN to use Socket Mode", err)
	}
	if c.AppToken != "" && c.SigningSecret != "" {
		fault("SLACK_APP_TOKEN and SLACK_SIGNING_SECRET are both set; keep the first for Socket Mode or the second for HTTP")
	}
	if _, err := c.apiURL(); err != nil {
		fault("SLACK_API_URL: %w", err)
	}
	return errors.Join(faults...)
}

// LogValue shows nothing secret.
func (c Config) LogValue() slog.Value {
	mode := "http"
	if c.AppToken != "" {
		mode = "socket"
	}
	return slog.GroupValue(slog.String("mode", mode), slog.Bool("own_api_url", c.APIURL != ""))
}

func checkSigning(list string) error {
	if list == "" {
		return errors.New("is missing")
	}
	_, err := parseSigning(list)
	return err
}

// checkSecret refuses what is no secret: nothing, blanks and the placeholders
// that examples are full of. Its errors do not repeat the value.
func checkSecret(v, prefix string) error {
	lower := strings.ToLower(strings.TrimSpace(v))
	switch {
	case lower == "":
		return errors.New("is missing")
	case v != strings.TrimSpace(v) || strings.ContainsAny(v, " \t\r\n"):
		return errors.New("contains blanks")
	case !strings.HasPrefix(v, prefix):
		return fmt.Errorf("does not start with %s", prefix)
	case len(v)-len(prefix) < 8:
		return errors.New("is too short to be real")
	case strings.Contains(lower, "…"), strings.Contains(lower, "..."), strings.Contains(lower, "<"), strings.Contains(lower, "xxxx"),
		strings.Contains(lower, "changeme"), strings.Contains(lower, "placeholder"), strings.Contains(lower, "your-"),
		strings.Contains(lower, "your_"), strings.Contains(lower, "example"):
		return errors.New("is a placeholder")
	}
	return nil
}

// apiURL is the Web API's address with the trailing slash that slack-go needs.
func (c Config) apiURL() (*url.URL, error) {
	raw := c.APIURL
	if raw == "" {
		raw = defaultAPIURL
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("is not an address like https://slack.com/api/")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, errors.New("must use https; plain http is for loopback addresses only")
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
