package entra_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mdebot/mdebot/internal/entra"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

const (
	tenant = "6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f001"
	app    = "0d9c1f6e-55a1-4f0b-8a7d-3e2b6c4d1a01"
	secret = "entra-test-secret-7Qk2"
)

var names = entra.NamesOf("MDE_AUTH", "MDE_CLIENT")

// place is a simulated Entra behind TLS.
type place struct {
	*entrasim.Server
	url    string
	client *http.Client
	ahead  time.Duration
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{}
	p.Server = entrasim.New(entrasim.Options{Now: func() time.Time { return time.Now().Add(p.ahead) }})
	srv := httptest.NewTLSServer(p.Server)
	t.Cleanup(srv.Close)
	p.url, p.client = srv.URL, srv.Client()
	return p
}

func (p *place) register(change func(*entrasim.App)) {
	a := entrasim.App{ID: app, Name: "mdebot", Roles: map[string][]string{entrasim.Defender: {"Alert.Read.All"}}}
	change(&a)
	p.Register(tenant, a)
}

func (p *place) token(t *testing.T, c entra.Credential) error {
	t.Helper()
	c.ClientID, c.Names = app, names
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	got, err := c.Source(ctx, p.client, entra.Target{Authority: p.url, Tenant: tenant, Audience: entrasim.Defender}).Token()
	if err != nil {
		return err
	}
	claims, err := p.Verify(got.AccessToken, entrasim.Defender)
	if err != nil || !claims.HasAny("Alert.Read.All") || claims.Tenant != tenant {
		t.Errorf("the token says %+v, %v", claims, err)
	}
	if life := time.Until(got.Expiry); life < 50*time.Minute || life > 70*time.Minute {
		t.Errorf("the token lives %s, want an hour", life)
	}
	return nil
}

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

var rsaKeys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var keys [2]*rsa.PrivateKey
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

func newPair(t *testing.T, which int, from, to time.Time) pair {
	t.Helper()
	key := rsaKeys()[which]
	return pair{certificateOf(t, key.Public(), key, from, to), key}
}

func certificateOf(t *testing.T, public, signer any, from, to time.Time) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "mdebot"}, NotBefore: from, NotAfter: to,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "mdebot"}}, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func goodPair(t *testing.T, which int) pair {
	t.Helper()
	return newPair(t, which, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
}

func (p pair) pem(t *testing.T, blocks ...string) []byte {
	t.Helper()
	var out []byte
	for _, b := range blocks {
		block := &pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}
		switch b {
		case "pkcs8":
			der, err := x509.MarshalPKCS8PrivateKey(p.key)
			if err != nil {
				t.Fatal(err)
			}
			block = &pem.Block{Type: "PRIVATE KEY", Bytes: der}
		case "pkcs1":
			block = &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(p.key)}
		case "encrypted":
			block = &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}
		}
		out = append(out, pem.EncodeToMemory(block)...)
	}
	return out
}

func (p pair) pfx(t *testing.T, e *pkcs12.Encoder, password string) []byte {
	t.Helper()
	other := goodPair(t, 1).cert // a chain holds other certificates too
	out, err := e.Encode(p.key, p.cert, []*x509.Certificate{other}, password)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t *testing.T, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "certificate")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSource_secretOnBothEndpoints(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.register(func(a *entrasim.App) { a.Secret = secret })
	for _, audience := range []string{entrasim.Defender, entrasim.DefenderService, entrasim.DefenderOld} {
		for _, v1 := range []bool{false, true} {
			c := entra.Credential{ClientID: app, Secret: secret, Names: names}
			got, err := c.Source(t.Context(), p.client, entra.Target{Authority: p.url + "/", Tenant: tenant, Audience: audience, V1: v1}).Token()
			if err != nil {
				t.Fatalf("Token() for %s, v1 %v = %v", audience, v1, err)
			}
			if life := time.Until(got.Expiry); life < 50*time.Minute {
				t.Errorf("for %s, v1 %v: the token lives %s", audience, v1, life)
			}
		}
	}
}

func TestSource_everyFormOfCertificate(t *testing.T) {
	t.Parallel()
	own := goodPair(t, 0)
	p := newPlace(t)
	p.register(func(a *entrasim.App) { a.Certificates = []*x509.Certificate{own.cert} })
	for name, c := range map[string]struct {
		content  []byte
		password string
	}{
		"PEM":                        {own.pem(t, "certificate", "pkcs8"), ""},
		"PEM, key first, old form":   {own.pem(t, "pkcs1", "certificate"), ""},
		"PEM with a chain":           {append(goodPair(t, 1).pem(t, "certificate"), own.pem(t, "certificate", "pkcs8")...), ""},
		"PFX of today":               {own.pfx(t, pkcs12.Modern2023, "pass word"), "pass word"},
		"PFX of tomorrow":            {own.pfx(t, pkcs12.Modern2026, "pass word"), "pass word"},
		"PFX of earlier years":       {own.pfx(t, pkcs12.LegacyDES, "pass word"), "pass word"},
		"PFX of long ago":            {own.pfx(t, pkcs12.LegacyRC2, "pass word"), "pass word"},
		"PFX without a password":     {own.pfx(t, pkcs12.Modern2023, ""), ""},
		"PFX, no password, long ago": {own.pfx(t, pkcs12.LegacyRC2, ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cred := entra.Credential{ClientID: app, CertificateFile: write(t, c.content), CertificatePassword: c.password, Names: names}
			if err := cred.Validate(); err != nil {
				t.Fatalf("Validate() = %v", err)
			}
			if err := p.token(t, cred); err != nil {
				t.Errorf("Token() = %v", err)
			}
		})
	}
}

func TestSource_renewedCertificateNeedsNoRestart(t *testing.T) {
	t.Parallel()
	old, renewed := goodPair(t, 0), goodPair(t, 1)
	p := newPlace(t)
	p.register(func(a *entrasim.App) { a.Certificates = []*x509.Certificate{old.cert} })
	file := write(t, old.pem(t, "certificate", "pkcs8"))
	c := entra.Credential{CertificateFile: file}
	if err := p.token(t, c); err != nil {
		t.Fatal(err)
	}
	p.Change(tenant, app, func(a *entrasim.App) { a.Certificates = []*x509.Certificate{renewed.cert} })
	if err := os.WriteFile(file, renewed.pem(t, "certificate", "pkcs8"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.token(t, c); err != nil {
		t.Errorf("Token() with the renewed certificate = %v", err)
	}
}

func TestCredential_certificatesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	own, other := goodPair(t, 0), goodPair(t, 1)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curveKey, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	curveCert := certificateOf(t, curve.Public(), curve, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	onlyCerts, err := pkcs12.Modern2023.EncodeTrustStore([]*x509.Certificate{own.cert}, "pw")
	if err != nil {
		t.Fatal(err)
	}
	unreadable := t.TempDir() // a directory cannot be read as a file, whoever runs the test
	for name, c := range map[string]struct {
		file, password, want string
	}{
		"no file":               {"/nowhere/mdebot.pem", "", "cannot be read: no such file"},
		"unreadable file":       {unreadable, "", "cannot be read"},
		"certificate alone":     {write(t, own.pem(t, "certificate")), "", "without its private key"},
		"PFX without its key":   {write(t, onlyCerts), "pw", "without its private key"},
		"key alone":             {write(t, own.pem(t, "pkcs8")), "", "no certificate"},
		"key of another":        {write(t, append(own.pem(t, "certificate"), other.pem(t, "pkcs8")...)), "", "belongs to none"},
		"two keys":              {write(t, append(own.pem(t, "certificate", "pkcs8"), other.pem(t, "pkcs8")...)), "", "more than one private key"},
		"encrypted PEM key":     {write(t, own.pem(t, "certificate", "encrypted")), "", "use a PFX file"},
		"wrong password":        {write(t, own.pfx(t, pkcs12.Modern2023, "right")), "wrong", "password does not open"},
		"wrong password, old":   {write(t, own.pfx(t, pkcs12.LegacyRC2, "right")), "wrong", "password does not open"},
		"neither PEM nor PFX":   {write(t, []byte("hello")), "", "neither PEM nor a PFX"},
		"empty file":            {write(t, nil), "", "neither PEM nor a PFX"},
		"key of another family": {write(t, append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: curveCert.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: curveKey})...)), "", "not an RSA key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cred := entra.Credential{ClientID: app, CertificateFile: c.file, CertificatePassword: c.password, Names: names}
			err := cred.Validate()
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "MDE_CLIENT_CERTIFICATE_FILE: ") {
				t.Errorf("Validate() = %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "right") {
				t.Errorf("the fault repeats the password: %v", err)
			}
			_, err = cred.Source(t.Context(), http.DefaultClient, entra.Target{Authority: "https://127.0.0.1:1", Tenant: tenant, Audience: entrasim.Defender}).Token()
			var refused *entra.Error
			if !errors.As(err, &refused) || !refused.Refused() {
				t.Fatalf("Token() = %v, want an *Error", err)
			}
			if sentence, next := refused.Advice(); !strings.Contains(sentence, c.want) || !strings.Contains(next, "MDE_CLIENT_CERTIFICATE_FILE") {
				t.Errorf("Advice() = %q, %q", sentence, next)
			}
		})
	}
}

func TestSource_refusalsAreSentences(t *testing.T) {
	t.Parallel()
	own, other := goodPair(t, 0), goodPair(t, 1)
	ended := newPair(t, 0, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	bySecret := entra.Credential{Secret: secret}
	byCertificate := entra.Credential{CertificateFile: write(t, own.pem(t, "certificate", "pkcs8"))}
	for _, tt := range []struct {
		name       string
		credential entra.Credential
		change     func(*place)
		code       int
		want, next string
	}{
		{"wrong secret", entra.Credential{Secret: "another-canary"}, nil, 7000215, "secret is wrong", "MDE_CLIENT_SECRET"},
		{"expired secret", bySecret, func(p *place) {
			p.Change(tenant, app, func(a *entrasim.App) { a.SecretExpires = time.Now().Add(-time.Hour) })
		}, 7000222, "secret has expired", "MDE_CLIENT_SECRET"},
		{"no consent, or another tenant", bySecret, func(p *place) { p.Unregister(tenant, app) }, 700016, "does not know mdebot's application", "MDE_CLIENT_ID"},
		{"disabled", bySecret, func(p *place) { p.Change(tenant, app, func(a *entrasim.App) { a.Disabled = true }) }, 7000112, "disabled", "Enterprise applications"},
		{"certificate that Entra does not know", entra.Credential{CertificateFile: write(t, other.pem(t, "certificate", "pkcs8"))}, nil, 700027, "does not accept the certificate", "MDE_CLIENT_CERTIFICATE_FILE"},
		{"expired certificate", entra.Credential{CertificateFile: write(t, ended.pem(t, "certificate", "pkcs8"))}, nil, 0, "certificate ended on", "MDE_CLIENT_CERTIFICATE_FILE"},
		{"clock sixteen minutes behind", byCertificate, func(p *place) { p.ahead = 16 * time.Minute }, 700024, "made at another time", "clock"},
		{"clock ten minutes ahead", byCertificate, func(p *place) { p.ahead = -10 * time.Minute }, 700024, "made at another time", "clock"},
		{"throttled", bySecret, func(p *place) {
			p.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 429, Times: 1})
		}, 90055, "asks mdebot to wait", "by itself"},
		{"outage", byCertificate, func(p *place) {
			p.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Route: "POST /*/oauth2/v2.0/token", Times: 1})
		}, 90033, "does not answer properly", "by itself"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.register(func(a *entrasim.App) { a.Secret, a.Certificates = secret, []*x509.Certificate{own.cert} })
			if tt.change != nil {
				tt.change(p)
			}
			err := p.token(t, tt.credential)
			var refused *entra.Error
			if !errors.As(err, &refused) {
				t.Fatalf("Token() = %v, want an *Error", err)
			}
			sentence, next := refused.Advice()
			if refused.Code != tt.code || !strings.Contains(sentence, tt.want) || !strings.Contains(next, tt.next) {
				t.Errorf("code %d: %q %q, want %d: …%s… …%s…", refused.Code, sentence, next, tt.code, tt.want, tt.next)
			}
			if text := fmt.Sprintf("%v %s %s", err, sentence, next); strings.Contains(text, "another-canary") || strings.Contains(text, tenant) {
				t.Errorf("a secret or an ID is told: %s", text)
			}
		})
	}
}

func TestSource_wrongTenantAndWrongCloud(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.register(func(a *entrasim.App) { a.Secret = secret })
	c := entra.Credential{ClientID: app, Secret: secret, Names: names}
	for _, tt := range []struct {
		target entra.Target
		code   int
		want   string
	}{
		{entra.Target{Authority: p.url, Tenant: "11111111-7a3e-4b7c-9d14-0c5a3be1f001", Audience: entrasim.Defender}, 90002, "no such tenant"},
		{entra.Target{Authority: p.url, Tenant: tenant, Audience: entrasim.DefenderUS}, 500011, "no such service"},
	} {
		_, err := c.Source(t.Context(), p.client, tt.target).Token()
		var refused *entra.Error
		if !errors.As(err, &refused) || refused.Code != tt.code {
			t.Fatalf("Token() = %v, want %d", err, tt.code)
		}
		if sentence, next := refused.Advice(); !strings.Contains(sentence, tt.want) || !strings.Contains(next, "MDE_CLOUD") {
			t.Errorf("Advice() = %q, %q", sentence, next)
		}
	}
}

func TestSource_workloadIdentity(t *testing.T) {
	t.Parallel()
	const issuer, subject = "https://cluster.example/", "system:serviceaccount:soc:mdebot"
	p := newPlace(t)
	p.register(func(a *entrasim.App) { a.Federated = []entrasim.Federated{{Issuer: issuer, Subject: subject}} })
	file := write(t, []byte(p.FederatedToken(issuer, subject, time.Hour)))
	c := entra.Credential{Method: entra.WorkloadIdentity, TokenFile: file}
	if err := p.token(t, c); err != nil {
		t.Fatalf("Token() = %v", err)
	}
	for want, content := range map[string]string{
		"issuer":  p.FederatedToken("https://other.example/", subject, time.Hour),
		"subject": p.FederatedToken(issuer, "system:serviceaccount:soc:other", time.Hour),
		"time":    p.FederatedToken(issuer, subject, -time.Hour),
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var refused *entra.Error
		if err := p.token(t, c); !errors.As(err, &refused) {
			t.Errorf("%s: Token() = %v, want an *Error", want, err)
		} else if sentence, _ := refused.Advice(); !strings.Contains(sentence, want) {
			t.Errorf("Advice() = %q, want %q in it", sentence, want)
		}
	}
	if err := os.WriteFile(file, []byte(p.FederatedToken(issuer, subject, time.Hour)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.token(t, c); err != nil {
		t.Errorf("Token() after the file was renewed = %v", err)
	}
}

// The library finds out from the process environment where it is, so this test
// runs alone.
func TestSource_managedIdentity(t *testing.T) {
	p := newPlace(t)
	p.register(func(*entrasim.App) {}) // an application, not an identity
	machine := httptest.NewServer(p.ManagedIdentity(tenant, "identity-header"))
	defer machine.Close()
	t.Setenv("IDENTITY_HEADER", "identity-header")
	c := entra.Credential{Method: entra.ManagedIdentity}
	// The refusals come first: the library keeps tokens of managed identities for
	// the whole process.
	t.Setenv("IDENTITY_ENDPOINT", "http://192.0.2.1/msi/token")
	if err := p.token(t, c); err == nil || !strings.Contains(err.Error(), "no address of a managed identity") {
		t.Errorf("Token() from another machine = %v, want a refusal", err)
	}
	t.Setenv("IDENTITY_ENDPOINT", machine.URL+"/msi/token")
	var refused *entra.Error
	if err := p.token(t, c); !errors.As(err, &refused) || !refused.Refused() {
		t.Fatalf("Token() of an identity that is not attached = %v, want an *Error", err)
	}
	if sentence, next := refused.Advice(); !strings.Contains(sentence, "managed identity") || !strings.Contains(next, "MDE_CLIENT_ID") {
		t.Errorf("Advice() = %q, %q", sentence, next)
	}
	p.register(func(a *entrasim.App) { a.Managed = true })
	if err := p.token(t, c); err != nil {
		t.Errorf("Token() = %v", err)
	}
}

func TestCredential_hidesItsProof(t *testing.T) {
	t.Parallel()
	c := entra.Credential{ClientID: app, Secret: "canary-one", CertificatePassword: "canary-two", Names: names}
	var out strings.Builder
	slog.New(slog.NewJSONHandler(&out, nil)).Info("start", "credential", c)
	fmt.Fprintf(&out, "%v %+v %#v %s", c, c, c, c)
	if strings.Contains(out.String(), "canary") {
		t.Errorf("a proof is shown: %s", out.String())
	}
}
