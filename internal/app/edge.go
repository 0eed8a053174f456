package app

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// slowBody is from when a body that has not arrived may be given up for another
	// request. Slack and Bot Connector send theirs at once.
	slowBody = 250 * time.Millisecond
	// makeRoom is how long a request waits for the slot of one that was given up.
	makeRoom = time.Second
	// maxBodies bounds what the bodies of all requests in flight hold together.
	maxBodies = 32 << 20
)

var (
	errGivenUp    = errors.New("the body came too slowly")
	errBodiesFull = errors.New("the bodies of other requests take all the room")
)

// slots bounds the requests in flight and what their bodies hold, so that a flood
// costs connections rather than memory. When all slots are taken, whoever has been
// sending a body for longest loses his: slow peers must not keep honest ones out
// (threat-model W-01, W-02).
type slots struct {
	taken   chan struct{}
	waiting chan struct{}
	bytes   atomic.Int64

	mu      sync.Mutex
	reading list.List // of *arriving, the oldest first
}

func newSlots(n int) *slots {
	return &slots{taken: make(chan struct{}, n), waiting: make(chan struct{}, n)}
}

// arriving is a request whose body has not been read to its end.
type arriving struct {
	slots *slots
	body  io.ReadCloser
	since time.Time
	stop  func() // makes the read that waits return
	entry *list.Element
	held  int64
	given atomic.Bool
}

// Read implements io.Reader.
func (a *arriving) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
	a.held += int64(n)
	full := a.slots.bytes.Add(int64(n)) > maxBodies
	switch {
	case a.given.Load():
		err = errGivenUp
	case full && err == nil:
		err = errBodiesFull
	}
	if err != nil {
		a.arrived()
	}
	return n, err
}

// Close implements io.Closer.
func (a *arriving) Close() error { return a.body.Close() }

func (a *arriving) arrived() {
	a.slots.mu.Lock()
	defer a.slots.mu.Unlock()
	if a.entry != nil {
		a.slots.reading.Remove(a.entry)
		a.entry = nil
	}
}

// giveUp ends the body that has been arriving for longest, if that is long.
func (s *slots) giveUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.reading.Front()
	if oldest == nil {
		return false
	}
	a := oldest.Value.(*arriving)
	if time.Since(a.since) < slowBody {
		return false
	}
	s.reading.Remove(oldest)
	a.entry = nil
	a.given.Store(true)
	a.stop()
	return true
}

// take waits for a slot as long as that promises one.
func (s *slots) take(r *http.Request) bool {
	select {
	case s.taken <- struct{}{}:
		return true
	default:
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return false
	}
	if !s.giveUp() {
		return false
	}
	timer := time.NewTimer(makeRoom)
	defer timer.Stop()
	select {
	case s.taken <- struct{}{}:
		return true
	case <-timer.C:
	case <-r.Context().Done():
	}
	return false
}

func (s *slots) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.bytes.Load() > maxBodies || !s.take(r) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		defer func() { <-s.taken }()
		if r.Body != nil && r.Body != http.NoBody {
			control := http.NewResponseController(w)
			a := &arriving{slots: s, body: r.Body, since: time.Now(), stop: func() { _ = control.SetReadDeadline(time.Now()) }}
			s.mu.Lock()
			a.entry = s.reading.PushBack(a)
			s.mu.Unlock()
			defer func() {
				a.arrived()
				s.bytes.Add(-a.held)
			}()
			r.Body = a
		}
		next.ServeHTTP(w, r)
	})
}

// plainRequests refuses what no delivery needs: other methods and upgrades. After a
// body in chunks the connection ends, so that no proxy in front can disagree with
// this server about where the next request begins (threat-model W-12).
func plainRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor < 2 && len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost:
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		case r.Header.Get("Upgrade") != "":
			http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

const (
	// badRequests may come from one source at once, and badPerSecond go on coming,
	// before its requests are refused unread.
	badRequests  = 60
	badPerSecond = 1
	// maxSources bounds how many sources are remembered; when there are more, all are
	// forgotten.
	maxSources = 10_000
	// floodLog is how often a flood is worth a line.
	floodLog = 10 * time.Second
)

// sources limits each source by the bad requests it has sent: further ones are
// refused before their body is read and any signature computed (threat-model
// W-09). An address decides nothing else (W-10).
type sources struct {
	proxies []netip.Prefix
	log     *slog.Logger
	seldom  rate.Sometimes

	mu    sync.Mutex
	known map[netip.Addr]*rate.Limiter
}

func newSources(proxies []netip.Prefix, logger *slog.Logger) *sources {
	return &sources{proxies: proxies, log: logger, seldom: rate.Sometimes{Interval: floodLog}, known: map[netip.Addr]*rate.Limiter{}}
}

// parseProxies reads MDEBOT_TRUSTED_PROXIES.
func parseProxies(list string) ([]netip.Prefix, error) {
	var proxies []netip.Prefix
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		p, err := netip.ParsePrefix(one)
		if addr, e := netip.ParseAddr(one); e == nil {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("MDEBOT_TRUSTED_PROXIES: %q is neither an address nor a network such as 10.0.0.0/8", one)
		}
		proxies = append(proxies, p)
	}
	return proxies, nil
}

func (s *sources) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(s.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// of is where r comes from. What a trusted proxy says about its peer counts, from
// the right. Another peer inside is most likely a proxy that nobody told mdebot
// about: everybody comes through it, so it is not limited.
func (s *sources) of(r *http.Request) (source netip.Addr, limited bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	source = peer.Addr().Unmap()
	if s.trusted(source) {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, hop := range slices.Backward(hops) {
			a, err := netip.ParseAddr(strings.TrimSpace(hop))
			if err != nil {
				break
			}
			if source = a.Unmap(); !s.trusted(source) {
				break
			}
		}
	}
	if s.trusted(source) || source.IsPrivate() || source.IsLoopback() || source.IsLinkLocalUnicast() {
		return netip.Addr{}, false
	}
	if source.Is6() { // one customer has a network of these
		network, _ := source.Prefix(64)
		source = network.Addr()
	}
	return source, true
}

// budget is what a source may still send.
func (s *sources) budget(source netip.Addr) *rate.Limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.known[source]
	if one == nil {
		if len(s.known) >= maxSources {
			clear(s.known)
		}
		one = rate.NewLimiter(badPerSecond, badRequests)
		s.known[source] = one
	}
	return one
}

func (s *sources) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		source, limited := s.of(r)
		if !limited {
			next.ServeHTTP(w, r)
			return
		}
		budget := s.budget(source)
		if budget.Tokens() < 1 {
			s.seldom.Do(func() {
				s.log.WarnContext(r.Context(), "requests of a source are refused unread, because too many of them were bad", "source", source.String())
			})
			w.Header().Set("Connection", "close")
			http.Error(w, http.StatusText(http.StatusTooManyRequests), http.StatusTooManyRequests)
			return
		}
		answered := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answered, r)
		if answered.status/100 == 4 {
			budget.Allow()
		}
	})
}
