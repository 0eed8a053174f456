package commands

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/defender"
)

const (
	evilFile   = "4388963aaa83afe2042a46a3c017ad50bdcdafb3"
	evilSHA256 = "413c58c8267d2c8648d8f6384bacc2ae9c929b2b96578b6860b5087cd1bd6462"
)

func (e *estate) File(_ context.Context, hash string) (defender.File, error) {
	if err := e.fault("file"); err != nil {
		return defender.File{}, err
	}
	if hash != evilFile && hash != evilSHA256 {
		return defender.File{}, defender.ErrNotFound
	}
	return defender.File{SHA1: evilFile, SHA256: evilSHA256, Signer: "<b>Evil</b> Inc.", Determination: "Malware", DeterminationName: "Trojan:Win32/X", GlobalPrevalence: 12}, nil
}

func (e *estate) sightings(seen bool) (defender.Sightings, error) {
	if err := e.fault("sightings"); err != nil || !seen {
		return defender.Sightings{}, err
	}
	return defender.Sightings{Prevalence: 3, First: noon.Add(-48 * time.Hour), Last: noon.Add(-time.Hour), FileNames: []string{"evil.exe"}}, nil
}

func (e *estate) FileSightings(_ context.Context, hash string) (defender.Sightings, error) {
	return e.sightings(hash == evilFile || hash == evilSHA256)
}

func (e *estate) IPSightings(_ context.Context, ip string) (defender.Sightings, error) {
	return e.sightings(ip == "203.0.113.9")
}

func (e *estate) DomainSightings(_ context.Context, host string) (defender.Sightings, error) {
	return e.sightings(host == "evil.example")
}

func (e *estate) RelatedAlerts(_ context.Context, o defender.Observable) ([]defender.Alert, error) {
	if o.Kind == defender.ObservableFile && len(o.Value) != 40 {
		return nil, errors.New("asked for alerts by something else than a SHA-1")
	}
	return e.alerts[:1], e.fault("alerts")
}

func (e *estate) RelatedMachines(context.Context, defender.Observable) ([]defender.Machine, error) {
	return e.machines[:1], e.fault("find")
}

func (e *estate) UserMachines(_ context.Context, account string) ([]defender.Machine, error) {
	if account != "sam" {
		return nil, nil
	}
	return e.machines[:1], nil
}

func (e *estate) UserAlerts(_ context.Context, account string) ([]defender.Alert, error) {
	if account != "sam" {
		return nil, nil
	}
	return e.alerts[:1], nil
}

func (e *estate) incidents() []defender.Incident {
	return []defender.Incident{
		{ID: 7, Name: "Credential <i>theft</i>", Severity: defender.High, Status: "Active", Updated: noon, Users: []string{"sam@corp.example"}, Alerts: []defender.IncidentAlert{{ID: alert1, Title: "x", Source: "MicrosoftDefenderATP"}}},
		{ID: 6, Name: "Odd sign-in", Severity: defender.Low, Status: "Active", Updated: noon.Add(-time.Hour)},
		{ID: 5, RedirectedTo: 7, Severity: defender.High, Status: "Redirected", Updated: noon.Add(-time.Hour)},
	}
}

func (e *estate) Incident(_ context.Context, id int64) (defender.Incident, error) {
	for _, in := range e.incidents() {
		if in.ID == id || in.RedirectedTo == id {
			return e.incidents()[0], nil
		}
	}
	return defender.Incident{}, defender.ErrNotFound
}

func (e *estate) UpdateIncident(_ context.Context, id int64, u defender.IncidentUpdate) (defender.Incident, error) {
	if err := e.fault("update incident"); err != nil {
		return defender.Incident{}, err
	}
	for _, in := range e.incidents() {
		if in.ID == id {
			e.incidentUpdates = append(e.incidentUpdates, u)
			in.AssignedTo, in.Status = cmp.Or(u.AssignedTo, in.AssignedTo), cmp.Or(u.Status, in.Status)
			return in, nil
		}
	}
	return defender.Incident{}, defender.ErrNotFound
}

func (e *estate) Incidents(_ context.Context, since time.Time) iter.Seq2[defender.Incident, error] {
	return each(e.incidents(), func(in defender.Incident) bool { return !in.Updated.Before(since) }, 0)
}

func (e *estate) ExposureScore(context.Context) (defender.Score, error) {
	return defender.Score{At: noon, Score: 33.49}, e.fault("score")
}

func (e *estate) SecureScore(context.Context) (defender.Score, error) {
	return defender.Score{At: noon, Score: 340}, nil
}

func (e *estate) Software(_ context.Context, words string) ([]defender.Software, error) {
	if !strings.Contains("log4j", words) {
		return nil, nil
	}
	return []defender.Software{{ID: "apache-_-log4j", Name: "log4j", Vendor: "apache", ExposedMachines: 3, PublicExploit: true}}, nil
}

func (e *estate) Vulnerability(_ context.Context, id string) (defender.Vulnerability, error) {
	if id != "CVE-2021-44228" {
		return defender.Vulnerability{}, defender.ErrNotFound
	}
	return defender.Vulnerability{ID: id, Severity: "Critical", CVSS: 10, ExposedMachines: 1, ExploitVerified: true, EPSS: 0.97, Description: "JNDI <script>"}, nil
}

func (e *estate) ExposedMachines(context.Context, string) ([]defender.MachineReference, error) {
	return []defender.MachineReference{{ID: ws042, Name: "ws-042.corp.example"}}, e.fault("find")
}

func (e *estate) TagMachine(_ context.Context, id, tag string, add bool) (defender.Machine, error) {
	if err := cmp.Or(e.fault("tag"), e.fault("tag "+tag)); err != nil {
		return defender.Machine{}, err
	}
	for i := range e.machines {
		m := &e.machines[i]
		if m.ID != id {
			continue
		}
		m.Tags = slices.DeleteFunc(slices.Clone(m.Tags), func(t string) bool { return t == tag })
		if add {
			m.Tags = append(m.Tags, tag)
		}
		return *m, nil
	}
	return defender.Machine{}, defender.ErrNotFound
}

func (e *estate) DeviceOwners(context.Context, string) ([]defender.Owner, error) {
	return []defender.Owner{{ID: "owner-1", Name: "Sam"}}, e.fault("owners")
}
