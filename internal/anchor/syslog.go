package anchor

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
)

// sendTimeout bounds one anchor to one destination.
const sendTimeout = 10 * time.Second

// syslog writes RFC 5424 messages, a connection for each: they are rare.
type syslog struct{ network, address string }

func (s *syslog) String() string { return "syslog:" + s.network + ":" + s.address }

func (*syslog) Every() time.Duration { return interval }

// priority is facility 13 (log audit) with severity 5 (notice).
const priority = 13*8 + 5

func (s *syslog) Send(ctx context.Context, a audit.Anchor) (err error) {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	message := fmt.Sprintf("<%d>1 %s %s mdebot %d audit-anchor - %s",
		priority, a.At.UTC().Format("2006-01-02T15:04:05.000000Z"), host, os.Getpid(), body)
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	network := s.network
	switch network {
	case "unix":
		network = "unixgram" // what /dev/log is
	case "tcp":
		message = fmt.Sprintf("%d %s", len(message), message) // RFC 6587, octet counting
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, s.address)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		_ = conn.Close()
		return err
	}
	if _, err := conn.Write([]byte(message)); err != nil {
		_ = conn.Close()
		return err
	}
	return conn.Close()
}
