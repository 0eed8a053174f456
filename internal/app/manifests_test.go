package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The files of manifests/ that people install are read here as the programs that
// take them do: every key has to be known, every setting to exist, and ports,
// paths and times have to be those of the code.

func schemaOf(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// documents reads the YAML documents of a file as a JSON reader sees them.
func documents(t *testing.T, file string) []any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return decoded(t, file, text)
}

func decoded(t *testing.T, name string, text []byte) []any {
	t.Helper()
	var all []any
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var v any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return all
		}
		var encoded []byte
		if err == nil {
			encoded, err = json.Marshal(v)
		}
		if err == nil {
			v, err = jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, v)
	}
}

// at is the value under a path of keys and list positions, or nil.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func items(v any) []any { l, _ := v.([]any); return l }

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// settingNames are the settings, and the secret ones.
func settingNames() (all, secret map[string]bool) {
	all, secret = map[string]bool{}, map[string]bool{}
	for _, s := range Settings() {
		all[s.Name] = true
		secret[s.Name] = s.Secret || s.Name == "MDEBOT_DATABASE_URL" // may hold a password
	}
	return all, secret
}

// wantSetting checks one variable as it is given to mdebot. held are the names of
// the secret files that are there, in dir.
func wantSetting(t *testing.T, where, name, value, dir string, held map[string]bool) {
	t.Helper()
	all, secret := settingNames()
	base, isFile := strings.CutSuffix(name, "_FILE")
	switch {
	case isFile && all[base] && !all[name]:
		if value != dir+"/"+base || !held[base] {
			t.Errorf("%s: %s is %q, want the file %s/%s, which has to be there", where, name, value, dir, base)
		}
	case !all[name]:
		t.Errorf("%s: %s is no setting", where, name)
	case secret[name] && !strings.HasPrefix(value, "sqlite:"):
		t.Errorf("%s: the secret %s stands there in the open", where, name)
	}
}

const drain = 20 * time.Second // cmd/mdebot

func port(t *testing.T, setting string) string {
	t.Helper()
	d := defaultOf(t, setting)
	return d[strings.LastIndex(d, ":")+1:]
}

func TestManifests_kubernetes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(root, "manifests", "kubernetes")
	schema := schemaOf(t, "kubernetes.schema.json")
	kinds := map[string][]any{} // by folder/kind
	used := map[string]bool{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		folder := filepath.Base(filepath.Dir(file))
		for _, doc := range documents(t, file) {
			if err := schema.Validate(doc); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			kinds[folder+"/"+text(at(doc, "kind"))] = append(kinds[folder+"/"+text(at(doc, "kind"))], doc)
			for _, r := range items(at(doc, "resources")) {
				used[filepath.Clean(filepath.Join(filepath.Dir(file), text(r)))] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if filepath.Base(f) != "kustomization.yaml" && !used[filepath.Clean(f)] {
			t.Errorf("%s is in no kustomization", f)
		}
	}
	for r := range used {
		if _, err := os.Stat(r); err != nil {
			t.Errorf("a kustomization names %s: %v", r, err)
		}
	}
	for _, shape := range []string{"sqlite", "postgres"} {
		deployments := kinds[shape+"/Deployment"]
		if len(deployments) != 1 {
			t.Fatalf("%s has %d deployments", shape, len(deployments))
		}
		d := deployments[0]
		checkPod(t, shape, at(d, "spec", "template", "spec"))
		strategy, replicas := text(at(d, "spec", "strategy", "type")), text(at(d, "spec", "replicas"))
		if shape == "sqlite" && (strategy != "Recreate" || replicas != "1" || len(kinds["sqlite/PersistentVolumeClaim"]) != 1) {
			t.Errorf("sqlite: %s of %s replicas; two processes cannot own one file", strategy, replicas)
		}
		if shape == "postgres" && (strategy != "RollingUpdate" || replicas == "1" || text(at(d, "spec", "strategy", "rollingUpdate", "maxUnavailable")) != "0" || len(kinds["postgres/PodDisruptionBudget"]) != 1) {
			t.Errorf("postgres: %s of %s replicas, want to roll without a gap", strategy, replicas)
		}
	}
	for _, policy := range kinds["common/NetworkPolicy"] {
		if got := fmt.Sprint(at(policy, "spec", "policyTypes")); got != "[Ingress Egress]" {
			t.Errorf("the policy covers %s, want both ways", got)
		}
	}
}

func checkPod(t *testing.T, shape string, pod any) {
	t.Helper()
	c := at(pod, "containers", 0)
	mounts := map[string]string{}
	for _, m := range items(at(c, "volumeMounts")) {
		mounts[text(at(m, "name"))] = text(at(m, "mountPath"))
	}
	for _, v := range items(at(pod, "volumes")) {
		if mounts[text(at(v, "name"))] == "" {
			t.Errorf("%s: the volume %s is mounted nowhere", shape, text(at(v, "name")))
		}
		delete(mounts, text(at(v, "name")))
	}
	if len(mounts) > 0 {
		t.Errorf("%s: no volume for %v", shape, mounts)
	}
	held := map[string]bool{} // the Secret is made from files that are named like this
	env := map[string]string{}
	for _, e := range items(at(c, "env")) {
		env[text(at(e, "name"))] = text(at(e, "value"))
		held[strings.TrimSuffix(text(at(e, "name")), "_FILE")] = true
	}
	for name, value := range env {
		wantSetting(t, shape, name, value, "/run/secrets/mdebot", held)
	}
	for name, setting := range map[string]string{"webhook": "MDEBOT_LISTEN", "admin": "MDEBOT_ADMIN_LISTEN"} {
		want := port(t, setting)
		if env[setting] != ":"+want {
			t.Errorf("%s: %s is %q, want :%s", shape, setting, env[setting], want)
		}
		if !slices.ContainsFunc(items(at(c, "ports")), func(p any) bool {
			return text(at(p, "name")) == name && text(at(p, "containerPort")) == want
		}) {
			t.Errorf("%s: no port %s called %s", shape, want, name)
		}
	}
	for probe, path := range map[string]string{"startupProbe": "/readyz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"} {
		if got := text(at(c, probe, "httpGet", "path")); got != path || text(at(c, probe, "httpGet", "port")) != "admin" {
			t.Errorf("%s: %s asks %s, want %s on admin", shape, probe, got, path)
		}
		if got := text(at(c, probe, "timeoutSeconds")); got < "3" { // /readyz looks for two seconds
			t.Errorf("%s: %s gives up after %s s", shape, probe, got)
		}
	}
	wait, err := time.ParseDuration(text(at(c, "lifecycle", "preStop", "sleep", "seconds")) + "s")
	if err != nil {
		t.Fatal(err)
	}
	grace, err := time.ParseDuration(text(at(pod, "terminationGracePeriodSeconds")) + "s")
	if err != nil || grace <= wait+drain {
		t.Errorf("%s: killed after %s (%v), and it waits %s and drains for %s", shape, grace, err, wait, drain)
	}
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if user := text(at(pod, "securityContext", "runAsUser")); !strings.Contains(string(dockerfile), "USER "+user+":") {
		t.Errorf("%s: runs as %s, which is not the image's user", shape, user)
	}
}

// What kustomize makes of the folders is valid as well.
func TestManifests_kustomize(t *testing.T) {
	t.Parallel()
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not here; the files themselves are read by TestManifests_kubernetes")
	}
	for _, shape := range []string{"sqlite", "postgres"} {
		out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", filepath.Join(root, "manifests", "kubernetes", shape)).CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl kustomize: %v\n%s", err, out)
		}
		found := map[string]int{}
		for _, doc := range decoded(t, shape, out) {
			found[text(at(doc, "kind"))]++
			if at(doc, "metadata", "namespace") != "mdebot" {
				t.Errorf("%s: %s is in the namespace %v", shape, text(at(doc, "kind")), at(doc, "metadata", "namespace"))
			}
		}
		if found["Deployment"] != 1 || found["NetworkPolicy"] < 1 || found["Service"] != 2 || found["ServiceAccount"] != 1 {
			t.Errorf("%s: %v", shape, found)
		}
	}
}

func TestManifests_compose(t *testing.T) {
	t.Parallel()
	file := filepath.Join(root, "manifests", "compose", "compose.yaml")
	docs := documents(t, file)
	if err := schemaOf(t, "compose.schema.json").Validate(docs[0]); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	services, _ := at(docs[0], "services").(map[string]any)
	volumes, _ := at(docs[0], "volumes").(map[string]any)
	secrets, _ := at(docs[0], "secrets").(map[string]any)
	left := maps.Clone(secrets)
	for name, s := range services {
		for _, secret := range items(at(s, "secrets")) {
			if _, ok := secrets[text(secret)]; !ok {
				t.Errorf("%s: no secret %s", name, text(secret))
			}
			delete(left, text(secret))
		}
		for _, v := range items(at(s, "volumes")) {
			source, _, _ := strings.Cut(text(v), ":")
			if _, ok := volumes[source]; !ok && !strings.HasPrefix(source, "./") {
				t.Errorf("%s: no volume %s", name, source)
			}
		}
		on, _ := at(s, "depends_on").(map[string]any)
		for other := range on {
			if at(services[other], "healthcheck") == nil {
				t.Errorf("%s waits for the health of %s, which has no check", name, other)
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("nobody uses the secrets %v", left)
	}
	bot := services["mdebot"]
	held := map[string]bool{}
	for _, s := range items(at(bot, "secrets")) {
		held[text(s)] = true
	}
	env, _ := at(bot, "environment").(map[string]any)
	for name, value := range env {
		wantSetting(t, file, name, text(value), "/run/secrets", held)
	}
	if got, want := text(at(bot, "ports", 0)), port(t, "MDEBOT_LISTEN"); !strings.HasSuffix(got, ":"+want) {
		t.Errorf("%s: publishes %s, want %s", file, got, want)
	}
	if at(bot, "read_only") != true || at(bot, "cap_drop") == nil || fmt.Sprint(at(bot, "security_opt")) != "[no-new-privileges:true]" || text(at(bot, "user")) != "65532:65532" {
		t.Errorf("%s: mdebot is not confined: %v", file, bot)
	}
	if grace, err := time.ParseDuration(text(at(bot, "stop_grace_period"))); err != nil || grace <= drain {
		t.Errorf("%s: killed after %s (%v), and it drains for %s", file, grace, err, drain)
	}
	envFile(t, filepath.Join(filepath.Dir(file), text(at(bot, "env_file", 0))))
}

// envFile checks the file of settings beside a manifest.
func envFile(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		if !ok {
			t.Errorf("%s: %q", file, line)
		}
		wantSetting(t, file, name, value, "", nil)
	}
}

var unitLine = regexp.MustCompile(`^([A-Za-z]+)=(.*)$`)

// unit reads a systemd unit: section by section, every line a key and a value.
func unit(t *testing.T, file string) map[string][]string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all, section := map[string][]string{}, ""
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		switch parts := unitLine.FindStringSubmatch(line); {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case parts == nil || section == "":
			t.Errorf("%s: not a line of a unit: %q", file, line)
		default:
			all[section+"."+parts[1]] = append(all[section+"."+parts[1]], parts[2])
		}
	}
	return all
}

func TestManifests_systemd(t *testing.T) {
	t.Parallel()
	file := filepath.Join(root, "manifests", "systemd", "mdebot.service")
	u := unit(t, file)
	held := map[string]bool{}
	for _, c := range u["Service.LoadCredential"] {
		id, path, _ := strings.Cut(c, ":")
		if path != "/etc/mdebot/secrets/"+id {
			t.Errorf("the credential %s comes from %s", id, path)
		}
		held[id] = true
	}
	for _, e := range u["Service.Environment"] {
		name, value, _ := strings.Cut(e, "=")
		wantSetting(t, file, name, value, "%d", held)
		delete(held, strings.TrimSuffix(name, "_FILE"))
	}
	if len(held) > 0 {
		t.Errorf("credentials that no setting reads: %v", held)
	}
	for key, want := range map[string]string{
		"Service.DynamicUser": "yes", "Service.NoNewPrivileges": "yes", "Service.ProtectSystem": "strict", "Service.CapabilityBoundingSet": "",
		"Service.PrivateDevices": "yes", "Service.MemoryDenyWriteExecute": "yes", "Service.StateDirectory": "mdebot", "Service.StateDirectoryMode": "0700",
		"Service.RestartPreventExitStatus": fmt.Sprint(exitConfig), "Service.UMask": "0077",
	} {
		if got := strings.Join(u[key], " "); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if !slices.Contains(u["Service.Environment"], "MDEBOT_DATABASE_URL=sqlite:/var/lib/mdebot/mdebot.db") {
		t.Error("the database is not in the unit's own directory")
	}
	if grace, err := time.ParseDuration(u["Service.TimeoutStopSec"][0]); err != nil || grace <= drain {
		t.Errorf("killed after %s (%v), and it drains for %s", grace, err, drain)
	}
	for _, start := range slices.Concat(u["Service.ExecStart"], u["Service.ExecStartPre"]) {
		words := strings.Fields(start)
		wantCommand(t, file, words[1:])
	}
	envFile(t, filepath.Join(root, "manifests", "systemd", "mdebot.env"))

	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not here, so the unit was read by this test alone")
		return
	}
	// It asks that the program is there.
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	here := filepath.Join(t.TempDir(), "mdebot.service")
	if err := os.WriteFile(here, bytes.ReplaceAll(content, []byte("/usr/local/bin/mdebot"), []byte("/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", here).CombinedOutput()
	if err != nil || strings.Contains(string(out), "mdebot.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// wantCommand checks that mdebot has a command.
func wantCommand(t *testing.T, where string, words []string) {
	t.Helper()
	var out bytes.Buffer
	if code := Main(t.Context(), append(slices.Clone(words), "--help"), nil, &out, &out); code != exitOK {
		t.Errorf("%s: mdebot %s: %s", where, strings.Join(words, " "), out.String())
	}
}

var (
	mdebotCall = regexp.MustCompile("(?m)(?:^|[ /`])mdebot ((?:serve|demo|audit|config|db|policy|manifest|healthcheck|version)(?: [a-z]+)?)")
	someName   = regexp.MustCompile(`\b(?:MDEBOT|MDE|SLACK|TEAMS)_[A-Z][A-Z_]*[A-Z]\b`)
	repoFile   = regexp.MustCompile(`\bmanifests/[a-z][a-z./-]*[a-z]`)
	docLink    = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
)

// The manual names only commands, settings, files and pages that exist, and the
// README leads to every page.
func TestDocs_runningNamesWhatExists(t *testing.T) {
	t.Parallel()
	all, _ := settingNames()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "running", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"vm", "kubernetes", "replicas", "backup", "upgrade"} {
		if !slices.Contains(pages, filepath.Join(root, "docs", "running", want+".md")) {
			t.Errorf("no page docs/running/%s.md", want)
		}
	}
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(readme), "docs/running/"+filepath.Base(page)) {
			t.Errorf("the README does not lead to %s", page)
		}
		for _, c := range mdebotCall.FindAllStringSubmatch(string(content), -1) {
			wantCommand(t, page, strings.Fields(c[1]))
		}
		for _, name := range someName.FindAllString(string(content), -1) {
			if !all[name] && !all[strings.TrimSuffix(name, "_FILE")] {
				t.Errorf("%s: %s is no setting", page, name)
			}
		}
		for _, f := range repoFile.FindAllString(string(content), -1) {
			if _, err := os.Stat(filepath.Join(root, f)); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
		for _, l := range docLink.FindAllStringSubmatch(string(content), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), l[1])); err != nil && !strings.HasPrefix(l[1], "http") {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}
