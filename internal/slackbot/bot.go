package slackbot

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"golang.org/x/time/rate"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	// workers run first answers, each at most two seconds.
	workers = 32
	// maxQueued deliveries wait for a worker; more are refused, which Slack shows
	// to the person and repeats for events.
	maxQueued = 1024
	// maxLater bounds the work that follows first answers.
	maxLater = 512
	// answerWithin is what a handler has for its first answer.
	answerWithin = 2 * time.Second
	// callWithin is what one call to Slack may take.
	callWithin = 15 * time.Second
	// drainWithin is what accepted work gets after the bot was told to stop.
	drainWithin = 10 * time.Second
)

// Bot is mdebot in one Slack workspace. It implements [chat.ClickEditor] and
// [identity.Directory]. It is safe for concurrent use.
type Bot struct {
	cfg     Config
	handler chat.Handler
	logger  *slog.Logger
	now     func() time.Time

	// client makes the calls; it repeats none of them.
	client  atomic.Pointer[slack.Client]
	signing atomic.Pointer[[]signingSecret]
	respond *http.Client // to response addresses
	hosts   map[string]bool
	dialer  *websocket.Dialer // of Socket Mode
	self    *self

	seen     deliveries
	refusals *rate.Limiter // of log lines about what nobody signed
	standing *cache[identity.Principal, identity.Standing]
	places   *cache[string, bool]         // channel → shared with other workspaces
	holds    *cache[string, chat.Readers] // channel → who from outside is in it
	outside  *cache[string, chat.Readers] // account → what it is to a channel it is in
	directs  *cache[string, string]
	clicks   *clicks
	noFolds  atomic.Bool // Slack refused blocks that collapse
	noTables atomic.Bool // Slack refused tables

	queue chan func(context.Context)
	later chan struct{} // one slot per piece of later work

	rotated chan struct{} // tells Socket Mode of new secrets

	intake  sync.RWMutex // held for writing to stop intake
	stopped bool
	work    sync.WaitGroup
}

var (
	_ chat.ClickEditor   = (*Bot)(nil)
	_ chat.Publisher     = (*Bot)(nil)
	_ identity.Directory = (*Bot)(nil)
)

// New returns a bot that asks h what to answer. It calls nobody yet. The error
// is that of [Config.Validate].
func New(cfg Config, h chat.Handler, logger *slog.Logger) (*Bot, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if h == nil {
		return nil, errors.New("slackbot: no handler")
	}
	api, err := cfg.apiURL()
	if err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	if cfg.Around == nil {
		cfg.Around = func(next http.RoundTripper) http.RoundTripper { return next }
	}
	if cfg.OnSocket == nil {
		cfg.OnSocket = func(bool) {}
	}
	if cfg.OnAck == nil {
		cfg.OnAck = func(time.Duration) {}
	}
	if cfg.Guests == nil {
		cfg.Guests = func(chat.Destination) bool { return false }
	}
	if cfg.OnFile == nil {
		cfg.OnFile = func(context.Context, string) {}
	}
	if cfg.OnHome == nil {
		cfg.OnHome = func(context.Context, identity.Principal) {}
	}
	transport := guardedTransport{base: cfg.Around(cfg.Transport), now: cfg.Now}
	httpClient := &http.Client{Transport: transport, Timeout: callWithin, CheckRedirect: refuseRedirect}
	b := &Bot{
		cfg:      cfg,
		handler:  h,
		logger:   logger.With(slog.String("platform", string(identity.Slack))),
		now:      cfg.Now,
		respond:  httpClient,
		hosts:    responseHosts(api),
		dialer:   websocketDialer(cfg.Transport),
		seen:     deliveries{now: cfg.Now},
		refusals: rate.NewLimiter(1, 10),
		standing: newCache[identity.Principal, identity.Standing](cfg.Now, 4*time.Minute),
		places:   newCache[string, bool](cfg.Now, readersAge),
		holds:    newCache[string, chat.Readers](cfg.Now, readersAge),
		outside:  newCache[string, chat.Readers](cfg.Now, readersAge),
		directs:  newCache[string, string](cfg.Now, time.Hour),
		clicks:   newClicks(cfg.Now),
		queue:    make(chan func(context.Context), maxQueued),
		later:    make(chan struct{}, maxLater),
		rotated:  make(chan struct{}, 1),
	}
	b.self = newSelf(&b.client)
	return b, b.use(cfg, api)
}

// use puts the secrets of cfg in force.
func (b *Bot) use(cfg Config, api *url.URL) error {
	signing, err := parseSigning(cfg.SigningSecret)
	if err != nil {
		return err
	}
	options := []slack.Option{slack.OptionHTTPClient(b.respond), slack.OptionAPIURL(api.String())}
	if cfg.AppToken != "" {
		options = append(options, slack.OptionAppLevelToken(cfg.AppToken))
	}
	b.client.Store(slack.New(cfg.BotToken, options...))
	b.signing.Store(&signing)
	return nil
}

// Rotate replaces the secrets while the bot works: tokens from the next call on,
// signing secrets from the next request on. Socket Mode opens its connections anew
// (threat-model S-05, C-06).
func (b *Bot) Rotate(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	api, err := cfg.apiURL()
	if err != nil {
		return err
	}
	if (cfg.AppToken == "") != (b.cfg.AppToken == "") {
		return errors.New("SLACK_APP_TOKEN: changing between Socket Mode and HTTP needs a restart")
	}
	if err := b.use(cfg, api); err != nil {
		return err
	}
	select {
	case b.rotated <- struct{}{}:
	default:
	}
	return nil
}

// websocketDialer takes proxy and certificates from t. It works on a clone: t
// changes its own settings when it is first used, adding HTTP/2, which a
// websocket must not negotiate.
func websocketDialer(t *http.Transport) *websocket.Dialer {
	t = t.Clone()
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = nil
	}
	return &websocket.Dialer{NetDialContext: t.DialContext, Proxy: t.Proxy, TLSClientConfig: t.TLSClientConfig, HandshakeTimeout: callWithin}
}

// refuseRedirect keeps tokens and response addresses on the host they are for.
func refuseRedirect(*http.Request, []*http.Request) error {
	return errors.New("redirects are not followed")
}

// responseHosts are the hosts that response addresses may have. They follow the
// Web API's address: Slack's own clouds answer on another host, a simulator on
// the same.
func responseHosts(api *url.URL) map[string]bool {
	switch api.Hostname() {
	case "slack.com", "slack-gov.com":
		return map[string]bool{"hooks." + api.Hostname(): true}
	}
	return map[string]bool{api.Host: true}
}

// Run works until ctx ends: it answers what was accepted and, with an app token,
// keeps the Socket Mode connections. Then it takes nothing new, finishes what it
// has accepted for up to ten seconds, and returns nil. It returns early only
// when Slack refuses the app's credentials for Socket Mode.
func (b *Bot) Run(ctx context.Context) error {
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	go func() {
		if _, err := b.self.get(ctx); err != nil && ctx.Err() == nil {
			b.logger.WarnContext(ctx, "slack installation unknown", slog.Any("error", err))
		}
	}()
	intakeOver := make(chan struct{})
	var pool sync.WaitGroup
	for range workers {
		pool.Go(func() { b.runWorker(working, intakeOver) })
	}
	var err error
	if b.cfg.AppToken != "" {
		err = b.runSockets(ctx)
	} else {
		<-ctx.Done()
	}
	b.intake.Lock()
	b.stopped = true
	b.intake.Unlock()
	close(intakeOver)

	drained := make(chan struct{})
	go func() {
		pool.Wait()
		b.work.Wait()
		close(drained)
	}()
	timer := time.NewTimer(drainWithin)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
		b.logger.WarnContext(ctx, "work given up at stop")
		stopWork()
		<-drained
	}
	b.cfg.Transport.CloseIdleConnections()
	return err
}

// runWorker runs queued work until intake is over and the queue is empty.
func (b *Bot) runWorker(ctx context.Context, intakeOver <-chan struct{}) {
	for {
		select {
		case task := <-b.queue:
			b.guard(ctx, task)
		case <-intakeOver:
			for {
				select {
				case task := <-b.queue:
					b.guard(ctx, task)
				default:
					return
				}
			}
		}
	}
}

// guard keeps a panic in one piece of work from ending the others.
func (b *Bot) guard(ctx context.Context, task func(context.Context)) {
	defer func() {
		if recover() != nil {
			// The value may hold what people typed.
			b.logger.ErrorContext(ctx, "panic while answering")
		}
	}()
	task(ctx)
}

// enqueue hands task to the workers and reports false when they are too far
// behind or the bot is stopping.
func (b *Bot) enqueue(task func(context.Context)) bool {
	b.intake.RLock()
	defer b.intake.RUnlock()
	if b.stopped {
		return false
	}
	select {
	case b.queue <- task:
		return true
	default:
		return false
	}
}

// runLater runs the work that follows a first answer beside the workers, so that
// slow work delays no first answer. It reports false when there is too much of
// it. Only workers call it, so none begins after the pool has ended.
func (b *Bot) runLater(ctx context.Context, task func(context.Context)) bool {
	select {
	case b.later <- struct{}{}:
	default:
		return false
	}
	b.work.Go(func() {
		defer func() { <-b.later }()
		b.guard(ctx, task)
	})
	return true
}
