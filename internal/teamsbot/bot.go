package teamsbot

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/infracloudio/msbotbuilder-go/connector/client"
	"github.com/infracloudio/msbotbuilder-go/core"
	"golang.org/x/time/rate"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	maxTasks    = 2048
	drainTime   = 10 * time.Second
	maxKeptCSV  = 64 << 20 // bytes of files that wait for their reader's consent
	maxForms    = 1000
	keepFiles   = time.Hour
	keepForms   = 2 * time.Hour
	seenFor     = time.Hour // tokens, and with them replays, live as long
	maxSeen     = 50_000
	maxStanding = 10_000
)

// Options are what a Bot gets from the program around it.
type Options struct {
	Logger *slog.Logger
	// Transport carries all outgoing calls; it knows proxy and certificates. Nil
	// means http.DefaultTransport.
	Transport http.RoundTripper
	// References keeps where conversations are reached. Nil keeps them in memory.
	References References
	// Messages keeps which messages are the bot's. Nil keeps them in memory.
	Messages Messages
	// Refused is told of authentic activities that are not taken.
	Refused chat.RefusedListener
	// Guests says whether guests of a conversation may read answers there. Nil means
	// nowhere.
	Guests func(chat.Destination) bool
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Bot is mdebot in Microsoft Teams. It is safe for concurrent use.
type Bot struct {
	appID      string
	tenants    []string // accepted, in lower case; the first is the bot's own
	log        *slog.Logger
	refused    chat.RefusedListener
	refusals   *rate.Limiter // of log lines about refused requests
	now        func() time.Time
	verifier   *verifier
	services   services
	connector  *connector
	uploads    *http.Client
	references References
	known      *learned
	messages   Messages
	own        own
	standings  *standings
	readers    *readers
	addresses  *addressBook
	viewing    chan struct{} // a place for each client that is told how a card looks
	targeting  *targeting
	linking    chan struct{} // a place for each address that is looked at
	guests     func(chat.Destination) bool
	tasks      *tasks
	seen       *seen
	tabTokens  *tabVerifier
	frames     string // hosts of Teams that may show a tab
	chats      string // and the one that links into a chat name
	forms      *shelf[*keptForm]
	files      *shelf[keptFile]
}

var (
	_ chat.Poster        = (*Bot)(nil)
	_ identity.Directory = (*Bot)(nil)
)

// New returns a Bot for a valid Config. It calls nobody.
func New(cfg Config, o Options) (*Bot, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.References == nil {
		o.References = &MemoryReferences{}
	}
	if o.Messages == nil {
		o.Messages = unkept{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	cloud, ok := cfg.cloud()
	if !ok {
		return nil, fmt.Errorf("no cloud for %s", cfg.MetadataURL)
	}
	// Redirects are answers, not directions: the token must not travel.
	hc := &http.Client{Transport: o.Transport, Timeout: callTimeout, CheckRedirect: noRedirect}
	keys := &keySet{metadataURL: cfg.MetadataURL, http: hc, now: o.Now}
	b := &Bot{
		appID:      cfg.AppID,
		log:        o.Logger.With("platform", identity.Teams),
		refused:    o.Refused,
		refusals:   rate.NewLimiter(1, 10),
		now:        o.Now,
		verifier:   newVerifier(cfg, cloud.issuer, keys, o.Now),
		services:   newServices(cfg),
		connector:  &connector{http: hc, services: newServices(cfg), tokens: newTokenSource(cfg, cloud.scope, hc, o.Now)},
		uploads:    &http.Client{Transport: o.Transport, Timeout: uploadTimeout, CheckRedirect: noRedirect},
		references: o.References,
		known:      &learned{},
		messages:   o.Messages,
		standings:  newStandings(o.Now),
		readers:    newReaders(o.Now),
		addresses:  newAddressBook(o.Now),
		viewing:    make(chan struct{}, maxViewing),
		linking:    make(chan struct{}, maxLinking),
		targeting:  newTargeting(cloud.targeted, o.Now),
		guests:     o.Guests,
		tasks:      newTasks(maxTasks, o.Logger),
		seen:       newSeen(o.Now),
		tabTokens:  newTabVerifier(cfg, hc, o.Now),
		frames:     cloud.frames,
		chats:      cloud.chats,
		forms:      newShelf[*keptForm](maxForms, keepForms, o.Now),
		files:      newShelf[keptFile](maxKeptCSV, keepFiles, o.Now),
	}
	for _, t := range cfg.TenantIDs {
		b.tenants = append(b.tenants, strings.ToLower(t))
	}
	return b, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Rotate replaces the secret while the bot works, from the next token on
// (threat-model C-06).
func (b *Bot) Rotate(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	b.connector.tokens.rotate(cfg.Credential())
	return nil
}

// Run returns after ctx has ended and the work accepted before is done, or after
// 20 seconds of waiting for it.
func (b *Bot) Run(ctx context.Context) error {
	<-ctx.Done()
	if !b.tasks.drain(drainTime) {
		b.log.WarnContext(ctx, "work was cut off at shutdown")
	}
	return nil
}

// botID is the bot's address in chat.
func (b *Bot) botID() string { return "28:" + b.appID }

// adapter is the library's adapter for one use, around our own validator and
// client.
func (b *Bot) adapter(c client.Client) *core.BotFrameworkAdapter {
	return &core.BotFrameworkAdapter{
		AdapterSetting: core.AdapterSetting{AppID: b.appID, CredentialProvider: credentials{appID: b.appID}},
		TokenValidator: b.verifier,
		Client:         c,
	}
}
