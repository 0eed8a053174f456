package entra

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Target is the tenant that is asked and what for.
type Target struct {
	Authority string // https://login.microsoftonline.com
	Tenant    string
	// Audience is the resource, without "/.default".
	Audience string
	// V1 asks the old endpoint, which takes secrets alone.
	V1 bool
}

// Source returns a source that asks Entra through client at every call, until ctx
// ends. Its errors are *[Error], or what the network said.
func (c Credential) Source(ctx context.Context, client *http.Client, t Target) oauth2.TokenSource {
	return source(func() (*oauth2.Token, error) {
		if c.Effective() == Secret {
			return c.bySecret(ctx, client, t)
		}
		return c.byIdentity(ctx, client, t)
	})
}

type source func() (*oauth2.Token, error)

func (s source) Token() (*oauth2.Token, error) { return s() }

func (c Credential) bySecret(ctx context.Context, client *http.Client, t Target) (*oauth2.Token, error) {
	cc := clientcredentials.Config{
		ClientID: c.ClientID, ClientSecret: c.Secret,
		TokenURL:  strings.TrimRight(t.Authority, "/") + "/" + url.PathEscape(t.Tenant) + "/oauth2/v2.0/token",
		Scopes:    []string{scopeOf(t.Audience)},
		AuthStyle: oauth2.AuthStyleInParams,
	}
	if t.V1 {
		cc.TokenURL = strings.TrimRight(t.Authority, "/") + "/" + url.PathEscape(t.Tenant) + "/oauth2/token"
		cc.Scopes, cc.EndpointParams = nil, url.Values{"resource": {t.Audience}}
	}
	got, err := cc.Token(context.WithValue(ctx, oauth2.HTTPClient, client))
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil {
		return nil, c.refusal(refused.Response.StatusCode, refused.Response.Header, refused.Body)
	}
	if err != nil {
		return nil, withoutURL(err)
	}
	return got, nil
}

func scopeOf(audience string) string { return strings.TrimSuffix(audience, "/") + "/.default" }

// byIdentity lets Microsoft's library sign in. A library credential is made for
// every call: it would answer from a memory of its own otherwise, and a renewed
// certificate would not be seen.
func (c Credential) byIdentity(ctx context.Context, client *http.Client, t Target) (*oauth2.Token, error) {
	watched := &watcher{next: client.Transport}
	if c.Effective() == ManagedIdentity {
		watched.next = onThisMachine()
	}
	if watched.next == nil {
		watched.next = http.DefaultTransport
	}
	options := azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: strings.TrimRight(t.Authority, "/") + "/"},
		Transport: &http.Client{Transport: watched, CheckRedirect: client.CheckRedirect, Timeout: client.Timeout},
		// Waiting and trying again are decided by whoever needs the token.
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}
	credential, err := c.azure(t.Tenant, options)
	if err != nil {
		return nil, err
	}
	got, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scopeOf(t.Audience)}})
	switch {
	case err == nil:
		return &oauth2.Token{AccessToken: got.Token, TokenType: "Bearer", Expiry: got.ExpiresOn}, nil
	case watched.failed != nil:
		return nil, withoutURL(watched.failed)
	case watched.status != 0:
		return nil, c.refusal(watched.status, watched.header, watched.body)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, &Error{names: c.Names, method: c.Effective(), local: "the identity library refused: " + firstLine(err.Error())}
}

func (c Credential) azure(tenant string, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	switch c.Effective() {
	case Certificate:
		s, err := loadCertificate(c.CertificateFile, c.CertificatePassword)
		if err == nil {
			err = s.current(time.Now())
		}
		if err != nil {
			return nil, &Error{names: c.Names, method: Certificate, local: err.Error()}
		}
		return azidentity.NewClientCertificateCredential(tenant, c.ClientID, s.chain, s.key, &azidentity.ClientCertificateCredentialOptions{
			// Authorities other than Microsoft's public ones would be looked up there.
			ClientOptions: options, DisableInstanceDiscovery: true, SendCertificateChain: true,
		})
	case WorkloadIdentity:
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: true, ClientID: c.ClientID, TenantID: tenant, TokenFilePath: c.TokenFile,
		})
	case ManagedIdentity:
		return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{
			ClientOptions: options, ID: azidentity.ClientID(c.ClientID),
		})
	case Secret:
	}
	return nil, fmt.Errorf("no way to sign in by a library is called %q", string(c.Method))
}

// current refuses a certificate outside its time with the date, which Entra
// would not name.
func (s signer) current(now time.Time) error {
	leaf := s.chain[0]
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate ended on %s", leaf.NotAfter.UTC().Format("2 January 2006"))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate begins on %s; perhaps the clock of this machine is wrong", leaf.NotBefore.UTC().Format("2 January 2006 15:04 UTC"))
	}
	return nil
}

// watcher keeps the last refusal, because the library's errors hold it as text
// only.
type watcher struct {
	next   http.RoundTripper
	status int
	header http.Header
	body   []byte
	failed error
}

// maxRefusal is far more than an error of Entra has.
const maxRefusal = 64 << 10

// RoundTrip implements http.RoundTripper.
func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	w.status, w.failed = 0, err
	if err != nil || resp.StatusCode/100 == 2 {
		return resp, err
	}
	body, readErr := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if closeErr := resp.Body.Close(); readErr == nil {
		readErr = closeErr
	}
	w.status, w.header, w.body = resp.StatusCode, resp.Header, body
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, readErr
}

// onThisMachine reaches what hands out tokens of managed identities: on the
// machine itself, or the metadata service of Azure, which is no host of a
// network. It goes through no proxy.
func onThisMachine() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if ip := to.Addr().Unmap(); !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
			return fmt.Errorf("%s is no address of a managed identity", ip)
		}
		return nil
	}}
	return &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
}

// withoutURL drops the address from an error of net/http.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
