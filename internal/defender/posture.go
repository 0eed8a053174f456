package defender

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Score is one of the tenant's scores.
type Score struct {
	At    time.Time
	Score float64
}

type wireScore struct {
	At    instant  `json:"time"`
	Score *decimal `json:"score"`
}

func (w wireScore) score() (string, Score) {
	if w.Score == nil {
		return "", Score{}
	}
	return "score", Score{At: time.Time(w.At), Score: float64(*w.Score)}
}

// ExposureScore is how exposed the tenant's machines are, 0 to 100; lower is
// better.
func (c *Client) ExposureScore(ctx context.Context) (Score, error) {
	return get(ctx, c, call{op: "get exposure score", family: familyPosture, path: "/api/exposureScore"}, wireScore.score)
}

// SecureScore is Microsoft's secure score for devices; higher is better.
func (c *Client) SecureScore(ctx context.Context) (Score, error) {
	return get(ctx, c, call{op: "get secure score", family: familyPosture, path: "/api/configurationScore"}, wireScore.score)
}

// Software is one product in the tenant.
type Software struct {
	ID              string // vendor-_-product
	Name, Vendor    string
	Weaknesses      int64
	PublicExploit   bool
	ActiveAlert     bool
	ExposedMachines int64
	Impact          float64
}

type wireSoftware struct {
	ID              text    `json:"id"`
	Name            text    `json:"name"`
	Vendor          text    `json:"vendor"`
	Weaknesses      integer `json:"weaknesses"`
	PublicExploit   boolean `json:"publicExploit"`
	ActiveAlert     boolean `json:"activeAlert"`
	ExposedMachines integer `json:"exposedMachines"`
	Impact          decimal `json:"impactScore"`
}

func (w wireSoftware) software() (string, Software) {
	return string(w.ID), Software{
		ID: string(w.ID), Name: string(w.Name), Vendor: string(w.Vendor), Weaknesses: int64(w.Weaknesses),
		PublicExploit: bool(w.PublicExploit), ActiveAlert: bool(w.ActiveAlert), ExposedMachines: int64(w.ExposedMachines), Impact: float64(w.Impact),
	}
}

// Software lists the products whose name or vendor holds the words, without
// regard to case, the most exposed first as Defender orders them. Defender can
// not filter by name, so the whole inventory is read.
func (c *Client) Software(ctx context.Context, words string) ([]Software, error) {
	const op = "list software"
	if utf8.RuneCountInString(words) > maxSoftware || !softwarePattern.MatchString(words) {
		return nil, fmt.Errorf("%s: %w: give a part of a name", op, ErrInvalid)
	}
	all, err := collect(list(ctx, c, listCall{op: op, family: familyPosture, path: "/api/Software", plain: true}, wireSoftware.software))
	var found []Software
	for _, s := range all {
		if holds(s.Name, words) || holds(s.Vendor+" "+s.Name, words) || strings.EqualFold(s.ID, words) {
			found = append(found, s)
		}
	}
	return found, err
}

// holds compares as people write product names: internet_explorer is Internet
// Explorer.
func holds(name, words string) bool {
	plain := strings.NewReplacer("_", " ", "-", " ")
	return strings.Contains(plain.Replace(strings.ToLower(name)), plain.Replace(strings.ToLower(words)))
}

// Vulnerability is one CVE as Defender knows it.
type Vulnerability struct {
	ID, Description string
	Severity        string // Low, Medium, High, Critical
	CVSS            float64
	Vector          string
	ExposedMachines int64
	Published       time.Time
	Updated         time.Time
	PublicExploit   bool
	ExploitVerified bool
	ExploitInKit    bool
	EPSS            float64 // 0 when not known
}

type wireVulnerability struct {
	ID              text    `json:"id"`
	Description     text    `json:"description"`
	Severity        text    `json:"severity"`
	CVSS            decimal `json:"cvssV3"`
	Vector          text    `json:"cvssVector"`
	ExposedMachines integer `json:"exposedMachines"`
	Published       instant `json:"publishedOn"`
	Updated         instant `json:"updatedOn"`
	PublicExploit   boolean `json:"publicExploit"`
	ExploitVerified boolean `json:"exploitVerified"`
	ExploitInKit    boolean `json:"exploitInKit"`
	EPSS            decimal `json:"EPSS"`
}

func (w wireVulnerability) vulnerability() (string, Vulnerability) {
	return string(w.ID), Vulnerability{
		ID: string(w.ID), Description: string(w.Description), Severity: canonical(w.Severity, "Low", "Medium", "High", "Critical"),
		CVSS: float64(w.CVSS), Vector: string(w.Vector), ExposedMachines: int64(w.ExposedMachines),
		Published: time.Time(w.Published), Updated: time.Time(w.Updated),
		PublicExploit: bool(w.PublicExploit), ExploitVerified: bool(w.ExploitVerified), ExploitInKit: bool(w.ExploitInKit), EPSS: float64(w.EPSS),
	}
}

// Vulnerability reads a CVE.
func (c *Client) Vulnerability(ctx context.Context, id string) (Vulnerability, error) {
	const op = "get vulnerability"
	if !cvePattern.MatchString(id) {
		return Vulnerability{}, fmt.Errorf("%s: %w: give an ID such as CVE-2021-44228", op, ErrInvalid)
	}
	id = strings.ToUpper(id)
	return get(ctx, c, call{op: op, family: familyPosture, path: "/api/vulnerabilities/" + id, id: id}, wireVulnerability.vulnerability)
}

// MachineReference is a machine as lists of vulnerabilities name it.
type MachineReference struct{ ID, Name, OS, Group string }

type wireReference struct {
	ID    text `json:"id"`
	Name  text `json:"computerDnsName"`
	OS    text `json:"osPlatform"`
	Group text `json:"rbacGroupName"`
}

func (w wireReference) reference() (string, MachineReference) {
	return string(w.ID), MachineReference{
		ID: string(w.ID), Name: strings.TrimSpace(string(w.Name)), OS: string(w.OS), Group: string(w.Group),
	}
}

// ExposedMachines lists the machines that a CVE concerns.
func (c *Client) ExposedMachines(ctx context.Context, id string) ([]MachineReference, error) {
	const op = "list exposed machines"
	if !cvePattern.MatchString(id) {
		return nil, fmt.Errorf("%s: %w: give an ID such as CVE-2021-44228", op, ErrInvalid)
	}
	return collect(list(ctx, c, listCall{
		op: op, family: familyPosture, path: "/api/vulnerabilities/" + strings.ToUpper(id) + "/machineReferences", plain: true,
	}, wireReference.reference))
}

// MaxTag is far more than a tag of Defender may have.
const MaxTag = 200

// TagMachine adds a tag to a machine or removes it, and returns the machine as it
// is then. It is sent once.
func (c *Client) TagMachine(ctx context.Context, machineID, tag string, add bool) (Machine, error) {
	tagging, err := taggingCall(familyMachines, machineID, tag, add)
	if err != nil {
		return Machine{}, err
	}
	defer c.cache.forget()
	return get(ctx, c, tagging, c.machine)
}

// TagMachine does the same with the acting application, for a tag that decides who
// has to approve. Like every order it is ErrUnclear when it may have taken effect
// without an answer.
func (a *Actor) TagMachine(ctx context.Context, machineID, tag string, add bool) (Machine, error) {
	tagging, err := taggingCall(familyActions, machineID, tag, add)
	if err != nil {
		return Machine{}, err
	}
	body, err := a.order(ctx, tagging, PermissionMachineWrite)
	if err != nil {
		return Machine{}, err
	}
	var w wireMachine
	if err := decode(body, &w); err != nil {
		return Machine{}, fmt.Errorf("%s: %w: %w", tagging.op, ErrUnclear, err)
	}
	_, m := a.client.machine(w)
	if !strings.EqualFold(m.ID, machineID) {
		return m, &MismatchError{Op: tagging.op, Field: "machine ID", Want: machineID, Got: m.ID, kind: ErrUnclear}
	}
	return m, nil
}

func taggingCall(f family, machineID, tag string, add bool) (call, error) {
	const op = "tag machine"
	if err := checkMachineID(op, machineID); err != nil {
		return call{}, err
	}
	if tag = strings.TrimSpace(tag); tag == "" || utf8.RuneCountInString(tag) > MaxTag {
		return call{}, fmt.Errorf("%s: %w: a tag has 1 to %d characters", op, ErrInvalid, MaxTag)
	}
	// Defender compares body names with regard to case.
	body := struct {
		Value  string `json:"Value"`
		Action string `json:"Action"`
	}{tag, "Remove"}
	if add {
		body.Action = "Add"
	}
	return call{op: op, family: f, method: http.MethodPost, path: "/api/machines/" + machineID + "/tags", id: machineID, body: body}, nil
}

// Owner is a person who registered a device in the directory.
type Owner struct {
	ID string // object ID
	// Name and Principal are "" when the application may not read people.
	Name, Principal string
}

type wireOwner struct {
	ID        text `json:"id"`
	Name      text `json:"displayName"`
	Principal text `json:"userPrincipalName"`
}

func (w wireOwner) owner() (string, Owner) {
	return string(w.ID), Owner{ID: string(w.ID), Name: string(w.Name), Principal: string(w.Principal)}
}

// DeviceOwners lists the registered owners of a device on Microsoft Graph, by the
// device ID that Defender calls [Machine.EntraDeviceID].
func (c *Client) DeviceOwners(ctx context.Context, deviceID string) ([]Owner, error) {
	const op = "list owners of device"
	if !isGUID(deviceID) {
		return nil, fmt.Errorf("%s: %w: a device ID is a GUID", op, ErrInvalid)
	}
	return collect(list(ctx, c, listCall{
		op: op, api: apiGraph, family: familyDirectory, plain: true,
		path:    "/v1.0/devices(deviceId='" + deviceID + "')/registeredOwners",
		options: url.Values{"$select": {"id,displayName,userPrincipalName"}},
	}, wireOwner.owner))
}

// AppCredential is a client secret or certificate of an app registration, as
// Graph tells about it: never its value.
type AppCredential struct {
	Certificate bool
	Name        string
	Hint        string // the first characters of a secret
	Ends        time.Time
}

type wireApplication struct {
	ID      text                       `json:"appId"`
	Secrets records[wireAppCredential] `json:"passwordCredentials"`
	Keys    records[wireAppCredential] `json:"keyCredentials"`
}

type wireAppCredential struct {
	Name text    `json:"displayName"`
	Hint text    `json:"hint"`
	Ends instant `json:"endDateTime"`
}

// AppCredentials lists the secrets and certificates of an app registration of
// this tenant. It needs Application.Read.All on Microsoft Graph; for an
// application that is registered elsewhere the error is [ErrNotFound].
func (c *Client) AppCredentials(ctx context.Context, clientID string) ([]AppCredential, error) {
	const op = "read the app registration"
	if !isGUID(clientID) {
		return nil, fmt.Errorf("%s: %w: a client ID is a GUID", op, ErrInvalid)
	}
	return get(ctx, c, call{
		op: op, api: apiGraph, family: familyDirectory, id: clientID,
		path:  "/v1.0/applications(appId='" + clientID + "')",
		query: url.Values{"$select": {"appId,passwordCredentials,keyCredentials"}},
	}, func(w wireApplication) (string, []AppCredential) {
		var all []AppCredential
		for _, s := range w.Secrets {
			all = append(all, AppCredential{Name: string(s.Name), Hint: string(s.Hint), Ends: time.Time(s.Ends)})
		}
		for _, k := range w.Keys {
			all = append(all, AppCredential{Certificate: true, Name: string(k.Name), Ends: time.Time(k.Ends)})
		}
		return string(w.ID), all
	})
}

// ExposedAPI is what an app registration offers to programs in which people are signed
// in.
type ExposedAPI struct {
	URIs         []string // application ID URIs
	TokenVersion int      // requestedAccessTokenVersion; 0 stands for none, which means 1
	// Clients are the programs that may have a scope without asking the person, by the
	// name of each scope that is enabled.
	Clients map[string][]string
}

type wireExposed struct {
	ID   text  `json:"appId"`
	URIs texts `json:"identifierUris"`
	API  struct {
		Version integer `json:"requestedAccessTokenVersion"`
		Scopes  records[struct {
			ID      text    `json:"id"`
			Name    text    `json:"value"`
			Enabled boolean `json:"isEnabled"`
		}] `json:"oauth2PermissionScopes"`
		Clients records[struct {
			ID     text  `json:"appId"`
			Scopes texts `json:"delegatedPermissionIds"`
		}] `json:"preAuthorizedApplications"`
	} `json:"api"`
}

// ExposedAPI reads what an app registration of this tenant exposes. It needs
// Application.Read.All on Microsoft Graph; for an application that is registered
// elsewhere the error is [ErrNotFound].
func (c *Client) ExposedAPI(ctx context.Context, clientID string) (ExposedAPI, error) {
	const op = "read what the app registration exposes"
	if !isGUID(clientID) {
		return ExposedAPI{}, fmt.Errorf("%s: %w: a client ID is a GUID", op, ErrInvalid)
	}
	return get(ctx, c, call{
		op: op, api: apiGraph, family: familyDirectory, id: clientID,
		path:  "/v1.0/applications(appId='" + clientID + "')",
		query: url.Values{"$select": {"appId,identifierUris,api"}},
	}, func(w wireExposed) (string, ExposedAPI) {
		out := ExposedAPI{URIs: w.URIs, TokenVersion: int(w.API.Version), Clients: map[string][]string{}}
		for _, s := range w.API.Scopes {
			if !s.Enabled {
				continue
			}
			out.Clients[string(s.Name)] = nil
			for _, client := range w.API.Clients {
				if slices.Contains(client.Scopes, string(s.ID)) {
					out.Clients[string(s.Name)] = append(out.Clients[string(s.Name)], string(client.ID))
				}
			}
		}
		return string(w.ID), out
	})
}
