package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/mdebot/mdebot/internal/dial"
)

// toPublic is outbound for Slack, Teams and the sign-in: never into the own
// network, whatever a name server answers, except to what is configured there.
func toPublic(cfg Config, t *http.Transport) (*http.Transport, error) {
	own := cfg.Teams.ServiceHosts
	for _, address := range []string{cfg.Slack.APIURL, cfg.Teams.AuthorityURL, cfg.Teams.MetadataURL, cfg.Defender.AuthorityURL} {
		if u, err := url.Parse(address); err == nil {
			own = append(own[:len(own):len(own)], u.Host)
		}
	}
	proxy, err := url.Parse(cfg.HTTPSProxy)
	if cfg.HTTPSProxy != "" && (err != nil || proxy.Host == "") { // host:port, as httpproxy takes it
		proxy, err = url.Parse("http://" + cfg.HTTPSProxy)
	}
	if err != nil {
		return nil, fmt.Errorf("HTTPS_PROXY: %w", err)
	}
	return dial.Public(t, proxy.Host, own)
}

// outbound is how every client leaves this process: TLS 1.2 or newer, the
// system's roots and MDEBOT_CA_FILE beside them, and the configured proxy. The
// clients add their own host checks, time limits and redirect rules.
func outbound(cfg Config, p *parts) (*http.Transport, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("load system certificates: %w", err)
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("MDEBOT_CA_FILE: %w", err)
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, errors.New("MDEBOT_CA_FILE: holds no PEM certificate")
		}
	}
	proxy := (&httpproxy.Config{
		HTTPProxy:  cfg.HTTPSProxy,
		HTTPSProxy: cfg.HTTPSProxy,
		NoProxy:    cfg.NoProxy,
	}).ProxyFunc()
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                 func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          64,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   5 * time.Second,
		ExpectContinueTimeout: time.Second,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode/100 == 2 {
				p.good(partProxy)
			} else {
				p.bad(partProxy, fmt.Sprintf("answers %d", resp.StatusCode))
			}
			return nil
		},
	}, nil
}
