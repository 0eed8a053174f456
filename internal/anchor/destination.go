package anchor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Destination is a place for anchors.
type Destination interface {
	// String names it for operators, without secrets.
	String() string
	// Send keeps a there.
	Send(ctx context.Context, a audit.Anchor) error
	// Every is the least time between two anchors that no destructive action asks
	// for.
	Every() time.Duration
}

// Reader is a Destination that can also be asked what it was sent.
type Reader interface {
	Destination
	// Newest is the newest anchor of a tenant that the key signed; ok is false when
	// there is none. An empty key accepts every anchor.
	Newest(ctx context.Context, id tenant.ID, public string) (a audit.Anchor, ok bool, err error)
}

// interval is how often heads are sent outside, and hourly how often to chat,
// where people read.
const (
	interval = 5 * time.Minute
	hourly   = time.Hour
)

// Outside is what destinations are reached with.
type Outside struct {
	Transport http.RoundTripper
	Posters   map[identity.Platform]chat.Poster
}

// Parse reads a list of destinations with commas:
//
//	file:/mnt/audit/anchors.jsonl
//	syslog:unix:/dev/log, syslog:udp:host:514, syslog:tcp:host:601
//	https://…
//	slack:C…, teams:19:…@thread.tacv2
//
// The error joins every fault.
func Parse(list string, outside Outside) ([]Destination, error) {
	var all []Destination
	var faults []error
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		d, err := parse(text, outside)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		all = append(all, d)
	}
	return all, errors.Join(faults...)
}

func parse(text string, outside Outside) (Destination, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch kind {
	case "file":
		if !filepath.IsAbs(rest) {
			return nil, fmt.Errorf("anchor %q: write file: and an absolute path, on another volume than the database", text)
		}
		return file(rest), nil
	case "syslog":
		network, address, _ := strings.Cut(rest, ":")
		switch {
		case address == "", network != "unix" && network != "udp" && network != "tcp":
			return nil, fmt.Errorf("anchor %q: write syslog:unix:/dev/log, syslog:udp:host:port or syslog:tcp:host:port", text)
		}
		return &syslog{network: network, address: address}, nil
	case "https":
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Fragment != "" {
			return nil, errors.New("anchor https://…: not an address")
		}
		return newHTTPS(u, outside.Transport), nil
	case "slack", "teams":
		to, err := chat.ParseDestination(text)
		if err != nil {
			return nil, fmt.Errorf("anchor %w", err)
		}
		poster, ok := outside.Posters[to.Platform()]
		if !ok {
			return nil, fmt.Errorf("anchor %q: %s is not configured", text, to.Platform())
		}
		return conversation{to: to, poster: poster}, nil
	}
	return nil, fmt.Errorf("anchor %q: is not file:…, syslog:…, https://…, slack:… or teams:…", kind)
}
