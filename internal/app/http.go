package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// The webhook listener's limits (threat-model W-01, W-02). Bodies are bounded by
// the handlers, which know their platform.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 15 * time.Second
	idleTimeout    = 60 * time.Second
	maxHeaderBytes = 16 << 10
	maxInFlight    = 512
)

// newServer is an http.Server that gives slow and hostile peers little.
func newServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           recoverPanics(plainRequests(newSlots(maxInFlight).limit(h)), logger),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// recoverPanics turns a panic into a 500 and a log line, one request at a time
// (threat-model W-13). The panic value is not logged: it may hold what a
// stranger sent.
func recoverPanics(next http.Handler, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			logger.ErrorContext(r.Context(), "handler panicked", "path", r.URL.Path, "kind", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			http.Error(w, "internal error", http.StatusInternalServerError)
		}()
		next.ServeHTTP(w, r)
	})
}

// certificate serves a key pair from files and reads them again when they
// change, so that a renewed certificate needs no restart.
type certificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time
	checked time.Time
}

func newCertificate(certFile, keyFile string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if _, err := c.get(nil); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && time.Since(c.checked) < 10*time.Second {
		return c.current, nil
	}
	c.checked = time.Now()
	info, err := os.Stat(c.certFile)
	if err == nil && c.current != nil && info.ModTime().Equal(c.changed) {
		return c.current, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile)
	}
	switch {
	case err == nil:
		c.current, c.changed = &pair, info.ModTime()
	case c.current == nil:
		return nil, fmt.Errorf("MDEBOT_TLS_CERT_FILE: %w", err)
	}
	return c.current, nil // a renewal that is half written keeps the old pair
}

// listen opens addr, with TLS when a certificate is configured.
func listen(ctx context.Context, addr, certFile, keyFile string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	if certFile == "" {
		return l, nil
	}
	cert, err := newCertificate(certFile, keyFile)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return tls.NewListener(l, &tls.Config{
		GetCertificate: cert.get,
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
	}), nil
}

// readiness is the answer of /readyz. A degraded part does not make the bot
// unready: another replica or a restart would fare no better, and what the others
// can do goes on.
type readiness struct {
	Ready    bool     `json:"ready"`
	Degraded []string `json:"degraded"`
}

// adminRoutes tell whether the process is up and whether it is ready, and no
// more than that: the listener has no login (threat-model W-11).
func adminRoutes(ready *atomic.Bool, degraded func() []string) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "up")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		answer, status := readiness{Ready: ready.Load(), Degraded: []string{}}, http.StatusOK
		if answer.Ready {
			answer.Degraded = append(answer.Degraded, degraded()...)
		} else {
			status = http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer) // the caller has gone
	})
	return mux
}
