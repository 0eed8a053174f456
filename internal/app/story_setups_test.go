package app

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
)

const (
	setupAppID  = "5a6b7c8d-0001-4000-8000-00000000a001"
	setupSecret = "set-up-secret-3Kd8-zz"
)

// setup is what an owner arrives with.
type setup struct {
	options sandbox.Options
	app     func(t *testing.T, a *entrasim.App)
	env     func(s *story) []string
}

func (u setup) start(t *testing.T) *story {
	t.Helper()
	return newStoryIn(t, sandbox.PolicyYAML(), u.options, u.environment)
}

// environment registers the application and returns the settings that differ
// from the world's own.
func (u setup) environment(s *story) []string {
	a := entrasim.App{ID: setupAppID, Name: "the owner's application", Secret: setupSecret, Roles: map[string][]string{}}
	u.app(s.T, &a)
	s.world.Entra.Register(sandbox.TenantID, a)
	env := []string{"MDE_CLIENT_ID=" + setupAppID, "MDE_CLIENT_SECRET=" + setupSecret, "MDE_ACTION_CLIENT_ID=", "MDE_ACTION_CLIENT_SECRET="}
	if s.world.CAFile != nil {
		ca := filepath.Join(s.dir, "ca.pem")
		if err := os.WriteFile(ca, s.world.CAFile, 0o600); err != nil {
			s.Fatal(err)
		}
		env = append(env, "MDEBOT_CA_FILE="+ca)
	}
	if u.env != nil {
		env = append(env, u.env(s)...)
	}
	return env
}

// connector is set-up 1.
var connector = setup{
	app: func(_ *testing.T, a *entrasim.App) {
		a.SecretExpires = time.Now().Add(5 * 24 * time.Hour)
		a.Roles[entrasim.Defender] = []string{"AdvancedQuery.Read.All", "Alert.Read.All", "Machine.Isolate", "Machine.Read.All", "Score.Read.All", "Software.Read.All"}
		a.Roles[entrasim.XDR] = []string{"Incident.Read.All"}
		a.Roles[entrasim.Graph] = []string{"Application.Read.All", "Device.Read.All"}
	},
	env: func(s *story) []string { // as people paste it
		base, _ := setting(s.world.Environment(), "MDE_BASE_URL")
		return []string{"MDE_BASE_URL=" + base + "/api/"}
	},
}

func TestStory_setupConnector(t *testing.T) {
	t.Parallel()
	s := connector.start(t)
	on := s.slack()
	s.watching()
	a := s.raise("ws-013", "High", "Credential theft on a finance machine")
	s.sees(on, sandbox.Riley, sandbox.SlackSOC, a.Title)

	var owned defendersim.MachineState
	for _, m := range s.world.Tenant.Machines() {
		if m.AADDeviceID != nil && len(m.Users) > 0 && m.Users[0].ObjectID != "" {
			owned = m
		}
	}
	if owned.ID == "" {
		t.Fatal("no machine of this world has an owner")
	}
	s.ask(on, sandbox.Riley, "machine "+owned.ID, "Owner", owned.Users[0].ObjectID)
	card := s.ask(on, sandbox.Riley, "machine ws-014", "Machine ws-014", "not permitted: User.Read.All")
	if !card.has("Request isolation") {
		t.Error("isolation is not offered although it is permitted")
	}
	s.ask(on, sandbox.Riley, "isolate ws-014 beaconing", "Asked:", "ws-014")
	s.click(on, sandbox.Avery, "isolate ws-014", "Approve")
	s.sees(on, sandbox.Riley, sandbox.SlackSOC, "isolate ws-014.corp.contoso.com – isolated")
	s.ask(on, sandbox.Riley, "release ws-014 cleaned", "Asked:", "ws-014")
	s.click(on, sandbox.Avery, "release ws-014", "Approve")
	s.sees(on, sandbox.Riley, sandbox.SlackSOC, "release ws-014.corp.contoso.com – released")

	s.ask(on, sandbox.Riley, "hunt DeviceInfo | take 1", "Hunt: ", "1 February 2027", "ThreatHunting.Read.All on Microsoft Graph")
	s.ask(on, sandbox.Riley, "incidents", "incident", "changed since")
	s.ask(on, sandbox.Riley, "score", "Scores of the tenant", "33.5 of 100")
	s.ask(on, sandbox.Riley, "software log4j", "1 product like log4j", "apache")
	s.ask(on, sandbox.Riley, "ack "+a.ID, "ack needs Alert.ReadWrite.All on WindowsDefenderATP")
	s.sees(on, sandbox.Sam, sandbox.SlackOps, "The client secret of the application that reads ends in", "Certificates & secrets")
	s.ask(on, sandbox.Sam, "status", "ends on", "lookup", "needs File.Read.All")
}

// click approves or denies the newest request that shows the words.
func (s *story) click(on side, who sandbox.Person, words, label string) {
	s.Helper()
	on.click(who, s.sees(on, who, on.approvals(), words, "waits for approval"), label)
}

// enrichment is set-up 2, from a secrets file.
var enrichment = setup{
	app: func(_ *testing.T, a *entrasim.App) {
		a.Roles[entrasim.Defender] = []string{"File.Read.All", "Ip.Read.All", "Url.Read.All"}
	},
	env: func(s *story) []string {
		file := filepath.Join(s.dir, "secrets.json")
		content := `{"mde_tenant_id":"` + sandbox.TenantID + `","mde_client_id":"` + setupAppID + `","mde_client_secret":"` + setupSecret + `"}`
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			s.Fatal(err)
		}
		return []string{"MDE_TENANT_ID=", "MDE_CLIENT_ID=", "MDE_CLIENT_SECRET=", "MDE_SECRETS_FILE=" + file}
	},
}

func TestStory_setupEnrichment(t *testing.T) {
	t.Parallel()
	s := enrichment.start(t)
	on := s.teams()
	var hash string
	for _, a := range s.world.Tenant.Alerts() {
		for _, e := range a.Evidence {
			if e.SHA256 != nil {
				hash = *e.SHA256
			}
		}
	}
	s.ask(on, sandbox.Riley, "lookup "+hash+" 198.51.100[.]77 hxxps://nowhere[.]example/x d41d8cd98f00b204e9800998ecf8427e",
		"Looked up 3 things", "Fabrikam Tools", "Malware", "not at all", "no statistics by URL", "MD5", "not permitted: Alert.Read.All", "not permitted: Machine.Read.All")
	s.ask(on, sandbox.Riley, "alerts", "alerts needs Alert.Read.All on WindowsDefenderATP")
	s.ask(on, sandbox.Riley, "incidents", "Incident.Read.All on Microsoft Threat Protection", "Nothing at all is granted")
	s.ask(on, sandbox.Sam, "status", "Alerts from Defender", "off, because it needs Alert.Read.All", "Watch for foreign actions", "off, because it needs Machine.Read.All")
	if n := len(s.world.Defender.Calls("GET /api/alerts")) + len(s.world.Defender.Calls("GET /api/machineactions")); n > 0 {
		t.Errorf("%d calls were made that cannot be permitted", n)
	}
}

// platform is set-up 4: a certificate, and an application that must not isolate.
var platform = setup{
	options: sandbox.Options{TLS: true},
	app: func(_ *testing.T, a *entrasim.App) {
		a.Secret = ""
		a.Roles[entrasim.Defender] = []string{"Alert.ReadWrite.All", "Machine.ReadWrite.All", "Vulnerability.Read.All", "Score.Read.All"}
	},
	env: func(s *story) []string {
		return []string{"MDE_CLIENT_SECRET=", "MDE_CLIENT_CERTIFICATE_FILE=" + s.certificate("first"), "MDE_CLIENT_CERTIFICATE_PASSWORD=pass word"}
	},
}

// certificate makes a PFX file for the set-up's application.
func (s *story) certificate(name string) string {
	s.Helper()
	return s.certificateOf(setupAppID, "mdebot.pfx", name)
}

// certificateOf makes a PFX file, at the place of an earlier one, and registers the
// certificate with an application in place of the earlier one.
func (s *story) certificateOf(app, file, name string) string {
	s.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		s.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(60 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		s.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.Fatal(err)
	}
	s.world.Entra.Change(sandbox.TenantID, app, func(a *entrasim.App) { a.Certificates = []*x509.Certificate{cert} })
	pfx, err := pkcs12.Modern2023.Encode(key, cert, nil, "pass word")
	if err != nil {
		s.Fatal(err)
	}
	file = filepath.Join(s.dir, file)
	if err := os.WriteFile(file, pfx, 0o600); err != nil {
		s.Fatal(err)
	}
	return file
}

func TestStory_setupPlatform(t *testing.T) {
	t.Parallel()
	s := platform.start(t)
	on := s.slack()
	s.watching()
	a := s.raise("ws-013", "High", "Credential theft on a finance machine")
	s.sees(on, sandbox.Riley, sandbox.SlackSOC, a.Title)
	s.ask(on, sandbox.Riley, "alert "+a.ID+" ack", "In progress", "assigned to Riley Chen")
	s.ask(on, sandbox.Riley, "tag ws-014 +reimaged", "Tags of ws-014", "reimaged")
	s.ask(on, sandbox.Riley, "tag ws-014 +never-isolate", "read by", "A second person must approve that")
	s.ask(on, sandbox.Riley, "cve CVE-2021-44228", "3 exposed machines", "Critical")
	s.ask(on, sandbox.Riley, "score", "33.5 of 100")
	user := s.machine("ws-014").Users[0].AccountName
	s.ask(on, sandbox.Riley, "user "+user, "Account "+user, "ws-014")
	card := s.ask(on, sandbox.Riley, "machine ws-014", "Machine ws-014", "reimaged")
	if card.has("Request isolation") {
		t.Error("isolation is offered although Machine.ReadWrite.All does not include it")
	}
	s.ask(on, sandbox.Riley, "isolate ws-014 beaconing", "isolate needs Machine.Isolate on WindowsDefenderATP")
	if n := len(s.world.Defender.Calls("POST /api/machines/*/isolate")); n > 0 {
		t.Errorf("%d calls to isolate were made", n)
	}
	if got := s.world.Tenant.Effects(defendersim.OfKind(defendersim.EffectTag)); len(got) != 1 {
		t.Errorf("%d changes of tags took effect, want 1", len(got))
	}

	// A renewed certificate is used without a restart.
	s.certificate("renewed")
	s.world.Entra.Revoke()
	s.ask(on, sandbox.Riley, "machine ws-015", "Machine ws-015")
}

// The Teams application signs in with a certificate instead of a secret, and a
// renewed one is used without a restart.
func TestStory_teamsSignsInWithACertificate(t *testing.T) {
	t.Parallel()
	app := ""
	renew := func(s *story, name string) string { return s.certificateOf(app, "teams.pfx", name) }
	s := newStoryIn(t, sandbox.PolicyYAML(), sandbox.Options{TLS: true}, func(s *story) []string {
		for _, line := range s.world.Environment() {
			if id, ok := strings.CutPrefix(line, "TEAMS_APP_ID="); ok {
				app = id
			}
		}
		s.world.Entra.Change(sandbox.TenantID, app, func(a *entrasim.App) { a.Secret = "" })
		ca := filepath.Join(s.dir, "ca.pem")
		if err := os.WriteFile(ca, s.world.CAFile, 0o600); err != nil {
			s.Fatal(err)
		}
		return []string{"MDEBOT_CA_FILE=" + ca, "TEAMS_APP_SECRET=", "TEAMS_APP_CERTIFICATE_FILE=" + renew(s, "first"), "TEAMS_APP_CERTIFICATE_PASSWORD=pass word"}
	})
	on := s.teams()
	s.ask(on, sandbox.Riley, "machine ws-014", "Machine ws-014")
	card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-014", "signed in by certificate")
	s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
	s.sees(on, sandbox.Riley, on.soc(), "isolate ws-014.corp.contoso.com – isolated")

	issued := func() (n int) {
		for _, token := range s.world.Entra.Issued() {
			if token.App == app {
				n++
			}
		}
		return n
	}
	before := issued()
	renew(s, "renewed")
	s.world.Entra.Revoke()
	s.ask(on, sandbox.Riley, "machine ws-015", "Machine ws-015")
	if before == 0 || issued() <= before {
		t.Errorf("the application got %d tokens with the first certificate and %d in all, want some with each", before, issued())
	}
}

// A workload identity signs in both applications with the token that the cluster
// writes into a file; a token that has ended is said, and the next one is used.
func TestStory_setupWorkloadIdentity(t *testing.T) {
	t.Parallel()
	const issuer, subject = "https://cluster.example/", "system:serviceaccount:soc:mdebot"
	file := filepath.Join(t.TempDir(), "federated-token")
	put := func(s *story, life time.Duration) {
		s.Helper()
		if err := os.WriteFile(file, []byte(s.world.Entra.FederatedToken(issuer, subject, life)), 0o600); err != nil {
			s.Fatal(err)
		}
	}
	u := setup{
		options: sandbox.Options{TLS: true},
		app: func(_ *testing.T, a *entrasim.App) {
			a.Secret, a.Federated = "", []entrasim.Federated{{Issuer: issuer, Subject: subject}}
			a.Roles[entrasim.Defender] = []string{"Alert.Read.All", "Machine.Read.All", "Machine.Isolate"}
		},
		env: func(s *story) []string {
			app, _ := setting(s.world.Environment(), "TEAMS_APP_ID")
			s.world.Entra.Change(sandbox.TenantID, app, func(a *entrasim.App) {
				a.Secret, a.Federated = "", []entrasim.Federated{{Issuer: issuer, Subject: subject}}
			})
			put(s, time.Hour)
			return []string{"MDE_CLIENT_SECRET=", "MDE_AUTH=workload-identity", "TEAMS_APP_SECRET=", "TEAMS_AUTH=workload-identity", "AZURE_FEDERATED_TOKEN_FILE=" + file}
		},
	}
	s := u.start(t)
	on := s.teams()
	s.ask(on, sandbox.Riley, "machine ws-014", "Machine ws-014")
	card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-014", "no secret anywhere")
	s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
	s.sees(on, sandbox.Riley, on.soc(), "isolate ws-014.corp.contoso.com – isolated")
	s.wantIsolations(1)

	put(s, -time.Hour)
	s.world.Entra.Revoke()
	s.ask(s.slack(), sandbox.Riley, "machine ws-015", "The federated token is of another time", "AZURE_FEDERATED_TOKEN_FILE")
	put(s, time.Hour)
	s.eventually("the new token is used", func() string {
		if _, err := s.bot.defender.Permissions(t.Context()); err != nil {
			return err.Error()
		}
		return ""
	})
	s.ask(s.slack(), sandbox.Riley, "machine ws-015", "Machine ws-015")
}

// A managed identity needs no proof. The library finds out from the process
// environment where it is, so this story runs alone.
func TestStory_setupManagedIdentity(t *testing.T) {
	u := setup{
		app: func(_ *testing.T, a *entrasim.App) {
			a.Secret, a.Managed = "", true
			a.Roles[entrasim.Defender] = []string{"Alert.Read.All", "Machine.Read.All", "Machine.Isolate"}
		},
		env: func(s *story) []string {
			machine := httptest.NewServer(s.world.Entra.ManagedIdentity(sandbox.TenantID, "identity-header"))
			s.Cleanup(machine.Close)
			s.Setenv("IDENTITY_HEADER", "identity-header")
			s.Setenv("IDENTITY_ENDPOINT", machine.URL+"/msi/token")
			return []string{"MDE_CLIENT_SECRET=", "MDE_AUTH=managed-identity"}
		},
	}
	s := u.start(t)
	on := s.slack()
	s.ask(on, sandbox.Riley, "machine ws-014", "Machine ws-014")
	card := s.request(on, s.teams(), sandbox.Riley, sandbox.Avery, "ws-014", "no secret anywhere")
	s.pressed(s.teams(), sandbox.Avery, card, "Approve", "Your approval counts")
	s.sees(on, sandbox.Riley, on.soc(), "isolate ws-014.corp.contoso.com – isolated")
	s.wantIsolations(1)
	s.ask(on, sandbox.Sam, "status", "managed-identity")
}

func TestStory_setupPlatformInTheGovernmentCloud(t *testing.T) {
	t.Parallel()
	u := setup{
		options: sandbox.Options{Cloud: entrasim.USGovernment},
		app: func(_ *testing.T, a *entrasim.App) {
			a.Roles[entrasim.DefenderUS] = []string{"Alert.Read.All", "Machine.Read.All"}
			a.Roles[entrasim.XDRUS] = []string{"Incident.Read.All"}
		},
		env: func(*story) []string {
			return []string{"MDE_CLOUD=gcc-high", "MDE_GRAPH_AUDIENCE=" + entrasim.GraphUS}
		},
	}
	s := u.start(t)
	on := s.slack()
	s.ask(on, sandbox.Riley, "machine ws-014", "Machine ws-014")
	s.ask(on, sandbox.Riley, "incidents --since 180d", "incident")
}

// classic is set-up 5: the old token endpoint and the names of earlier years.
var classic = setup{
	app: func(_ *testing.T, a *entrasim.App) { a.Roles[entrasim.Defender] = []string{"alert.read.ALL"} },
	env: func(*story) []string {
		return []string{"MDE_TOKEN_VERSION=v1", "MDE_AUDIENCE=" + entrasim.DefenderOld}
	},
}

func TestStory_setupClassic(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"v1 with the resource of earlier years": {"MDE_TOKEN_VERSION=v1", "MDE_AUDIENCE=" + entrasim.DefenderOld},
		"v2 with the scope of the service":      {"MDE_AUDIENCE=" + entrasim.DefenderService + "/.default"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := classic
			u.env = func(*story) []string { return env }
			s := u.start(t)
			on := s.slack()
			s.watching()
			a := s.raise("ws-013", "High", "Credential theft on a finance machine")
			s.sees(on, sandbox.Riley, sandbox.SlackSOC, a.Title)
			s.ask(on, sandbox.Riley, "alert "+a.ID, a.Title)
			s.ask(on, sandbox.Riley, "machine ws-014", "machine needs Machine.Read.All")
			for _, issued := range s.world.Entra.Issued() {
				if issued.App == setupAppID && strings.HasPrefix(issued.Audience, entrasim.Defender+"/") {
					t.Errorf("a token was asked for %s", issued.Audience)
				}
			}
		})
	}
}

// A fault of the credential is one sentence to the person, and passes when its
// cause does.
func TestStory_credentialFaultsAreSaidAndPass(t *testing.T) {
	t.Parallel()
	s := connector.start(t)
	on := s.slack()
	s.ask(on, sandbox.Riley, "machine ws-014", "Machine ws-014")
	for i, fault := range []struct {
		name, want  string
		cause, cure func(*entrasim.App)
	}{
		{"a wrong secret", "client secret is wrong", func(a *entrasim.App) { a.Secret = "another" }, func(a *entrasim.App) { a.Secret = setupSecret }},
		{"an expired secret", "client secret has expired", func(a *entrasim.App) { a.SecretExpires = time.Now().Add(-time.Hour) }, func(a *entrasim.App) { a.SecretExpires = time.Time{} }},
		{"a disabled application", "disabled in this tenant", func(a *entrasim.App) { a.Disabled = true }, func(a *entrasim.App) { a.Disabled = false }},
	} {
		s.world.Entra.Change(sandbox.TenantID, setupAppID, fault.cause)
		s.world.Entra.Revoke()
		question := fmt.Sprintf("machines --tag finance --seen %dd", 100+i) // no answer is remembered
		s.ask(on, sandbox.Riley, question, fault.want)
		s.world.Entra.Change(sandbox.TenantID, setupAppID, fault.cure)
		s.eventually("Entra is asked again", func() string {
			if _, err := s.bot.defender.Permissions(t.Context()); err != nil {
				return err.Error()
			}
			return ""
		})
		s.ask(on, sandbox.Riley, question, "10 machines")
	}
}
