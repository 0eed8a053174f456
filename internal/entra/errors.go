package entra

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Error is a refusal: by Entra, by what hands out tokens of managed identities,
// or of a certificate before anybody was asked.
type Error struct {
	Status int    // 0: nobody was asked
	Code   int    // of Entra, without AADSTS; 0 when it named none
	OAuth  string // invalid_client, …
	// Message is Entra's own text, for the log: it holds IDs.
	Message    string
	Trace      string
	RetryAfter time.Duration // of a 429, 0 when it did not say

	names  Names
	method Method
	local  string
}

func (e *Error) Error() string {
	switch {
	case e.local != "":
		return e.local
	case e.Code != 0:
		return fmt.Sprintf("Entra answered %d AADSTS%d", e.Status, e.Code)
	}
	return fmt.Sprintf("Entra answered %d %s", e.Status, cmp.Or(e.OAuth, http.StatusText(e.Status)))
}

// Throttled reports whether Entra asked to wait.
func (e *Error) Throttled() bool { return e.Status == http.StatusTooManyRequests }

// Refused reports whether the application was refused, so that trying again
// does not help by itself.
func (e *Error) Refused() bool { return e.local != "" || (e.Status/100 == 4 && !e.Throttled()) }

// refusal reads an error answer.
func (c Credential) refusal(status int, header http.Header, body []byte) *Error {
	e := &Error{Status: status, names: c.Names, method: c.Effective(), RetryAfter: retryAfter(header)}
	var w struct {
		OAuth       string            `json:"error"`
		Description string            `json:"error_description"`
		Codes       []json.RawMessage `json:"error_codes"`
		Trace       string            `json:"trace_id"`
	}
	if json.Unmarshal(body, &w) != nil {
		return e
	}
	e.OAuth, e.Message, e.Trace = cut(w.OAuth, 64), cut(w.Description, 1000), cut(w.Trace, 64)
	if len(w.Codes) > 0 {
		e.Code, _ = strconv.Atoi(strings.Trim(string(w.Codes[0]), `"`))
	}
	if e.Code == 0 {
		e.Code = codeIn(w.Description)
	}
	return e
}

// codeIn reads the code at the head of a description.
func codeIn(description string) int {
	rest, ok := strings.CutPrefix(description, "AADSTS")
	if !ok {
		return 0
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	n, _ := strconv.Atoi(rest[:end])
	return n
}

// longestWait keeps an absurd Retry-After from stopping everything.
const longestWait = 10 * time.Minute

func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return time.Duration(min(n, int(longestWait/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), longestWait)
	}
	return 0
}

func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

// NotHere reports whether Entra knows the application in another tenant or not
// at all: the customer has not consented, or the client ID is wrong.
func (e *Error) NotHere() bool { return e.Code == 700016 || e.Code == 7000229 || e.Code == 65001 }

// Advice is what is wrong and what to do, for people.
func (e *Error) Advice() (sentence, next string) {
	switch {
	case e.method == Certificate && e.local != "":
		return "mdebot cannot sign in at Entra: " + e.local + ".", "Put a certificate that is in order at " + e.names.CertificateFile + "; mdebot reads it again by itself."
	case e.method == ManagedIdentity && (e.Status != 0 || e.local != ""):
		return "The managed identity gave no token.", "Check that the user-assigned identity is attached to this machine and that " + e.names.ClientID + " is its client ID."
	case e.method == WorkloadIdentity && e.Code == 700024:
		return "The federated token is of another time.", "Look at the file in " + TokenFileSetting + ", which Kubernetes renews, and at the clock of this machine."
	case e.local != "":
		return "mdebot cannot sign in at Entra.", "The log has the reason."
	case e.Throttled():
		return "Entra asks mdebot to wait before the next sign-in.", "It tries again by itself."
	case e.Status/100 == 5:
		return "Entra does not answer properly.", "It is tried again by itself; the Azure status page tells about outages."
	}
	if a, ok := advice[e.Code]; ok {
		setting := strings.NewReplacer(
			"{secret}", e.names.Secret, "{client}", e.names.ClientID, "{certificate}", e.names.CertificateFile,
		)
		return a.sentence, setting.Replace(a.next)
	}
	if e.Code != 0 {
		return fmt.Sprintf("Entra refuses mdebot's application (AADSTS%d).", e.Code), "Look the code up at https://login.microsoftonline.com/error."
	}
	return fmt.Sprintf("Entra refuses mdebot's application (HTTP %d).", e.Status), "The log has Entra's own words."
}

// advice by code of Entra.
var advice = map[int]struct{ sentence, next string }{
	700016:  {"Entra does not know mdebot's application in this tenant.", "Either {client} or the tenant ID is wrong, or an administrator of this tenant has not consented yet; `mdebot consent` prints the link."},
	7000229: {"Nobody has consented to mdebot's application in this tenant.", "An administrator of the tenant opens the link that `mdebot consent` prints."},
	65001:   {"Nobody has consented to mdebot's application in this tenant.", "An administrator of the tenant opens the link that `mdebot consent` prints."},
	7000215: {"Entra says that the client secret is wrong.", "Put the secret's value, not its ID, into {secret}."},
	7000222: {"The client secret has expired.", "Make a new one under Certificates & secrets of the app registration and put it into {secret}."},
	7000216: {"Entra got no proof of who mdebot is.", "Set {secret}, or a certificate with {certificate}."},
	7000112: {"The application is disabled in this tenant.", "An administrator enables it again under Enterprise applications."},
	700027:  {"Entra does not accept the certificate.", "Upload the certificate in {certificate} under Certificates & secrets of the app registration."},
	700030:  {"Entra does not accept the certificate.", "Upload the certificate in {certificate} under Certificates & secrets of the app registration."},
	700024:  {"Entra says that the proof of who mdebot is was made at another time.", "Correct the clock of this machine."},
	90002:   {"Entra knows no such tenant.", "Check the tenant ID, and MDE_CLOUD if the tenant is in another cloud."},
	900023:  {"Entra knows no such tenant.", "Check the tenant ID, and MDE_CLOUD if the tenant is in another cloud."},
	900382:  {"This tenant is in another cloud.", "Set MDE_CLOUD to the cloud of the tenant."},
	90038:   {"This tenant is in another cloud.", "Set MDE_CLOUD to the cloud of the tenant."},
	500011:  {"The tenant has no such service.", "Either Microsoft Defender for Endpoint is not licensed there, or MDE_CLOUD or the audience is wrong."},
	650052:  {"The tenant has no such service.", "Either Microsoft Defender for Endpoint is not licensed there, or MDE_CLOUD or the audience is wrong."},
	70011:   {"Entra does not accept the audience.", "Leave MDE_AUDIENCE and its relatives out, or write an address without /.default."},
	1002012: {"Entra does not accept the audience.", "Leave MDE_AUDIENCE and its relatives out, or write an address without /.default."},
	53003:   {"A Conditional Access policy blocks mdebot's application.", "Whoever keeps the policies in Entra lets this workload identity in from here."},
	70021:   {"Entra has no federated credential for this workload.", "Add one under Certificates & secrets of the app registration with the issuer, subject and audience of this workload."},
	700211:  {"Entra has no federated credential for this workload's issuer.", "Add one under Certificates & secrets of the app registration with the issuer, subject and audience of this workload."},
	700212:  {"Entra has no federated credential for this workload's audience.", "Add one under Certificates & secrets of the app registration with the issuer, subject and audience of this workload."},
	700213:  {"Entra has no federated credential for this workload's subject.", "Add one under Certificates & secrets of the app registration with the issuer, subject and audience of this workload."},
	700026:  {"The federated token is not acceptable.", "Look at the file in AZURE_FEDERATED_TOKEN_FILE; Kubernetes renews it."},
}
