package entra

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Method is how an application proves who it is.
type Method string

// The methods.
const (
	Secret           Method = "secret"
	Certificate      Method = "certificate"
	ManagedIdentity  Method = "managed-identity"
	WorkloadIdentity Method = "workload-identity"
)

var methods = []Method{Secret, Certificate, ManagedIdentity, WorkloadIdentity}

// Credential is an application and its proof.
type Credential struct {
	// Method may be empty: a certificate when there is a file of one, otherwise a
	// secret.
	Method   Method
	ClientID string

	Secret              string
	CertificateFile     string // PEM or PFX, with the private key
	CertificatePassword string
	TokenFile           string // the federated token of a workload identity

	// Names are the settings, for faults and advice.
	Names Names
}

// Names are the settings that a Credential was read from.
type Names struct {
	Method, ClientID, Secret, CertificateFile, CertificatePassword string
}

// NamesOf are the settings of an application: one for the method, and those that
// begin with prefix.
func NamesOf(method, prefix string) Names {
	return Names{
		Method: method, ClientID: prefix + "_ID", Secret: prefix + "_SECRET",
		CertificateFile: prefix + "_CERTIFICATE_FILE", CertificatePassword: prefix + "_CERTIFICATE_PASSWORD",
	}
}

// TokenFileSetting is the variable that Kubernetes' workload identity webhook
// sets.
const TokenFileSetting = "AZURE_FEDERATED_TOKEN_FILE"

// Effective is the method that c signs in with.
func (c Credential) Effective() Method {
	switch {
	case c.Method != "":
		return c.Method
	case c.CertificateFile != "":
		return Certificate
	}
	return Secret
}

// Given reports whether anything of c is set besides who it is for.
func (c Credential) Given() bool {
	return strings.TrimSpace(c.Secret) != "" || c.CertificateFile != "" || c.Method != ""
}

// Validate reports every fault at once. A certificate is read, and may have
// expired: that is told when it is used.
func (c Credential) Validate() error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !isGUID(c.ClientID) {
		if c.Method == ManagedIdentity {
			add("%s: give the client ID of the user-assigned managed identity, a GUID", c.Names.ClientID)
		} else {
			add("%s: give the application (client) ID, a GUID", c.Names.ClientID)
		}
	}
	switch c.Effective() {
	case Secret:
		if strings.TrimSpace(c.Secret) == "" {
			add("%s: give the client secret of the application", c.Names.Secret)
		}
		if c.CertificateFile != "" {
			add("%s is set although %s is secret; keep one", c.Names.CertificateFile, c.Names.Method)
		}
	case Certificate:
		if c.Secret != "" {
			add("%s and %s are both set; keep one", c.Names.Secret, c.Names.CertificateFile)
		}
		if c.CertificateFile == "" {
			add("%s: give the file that holds the certificate and its private key, PEM or PFX", c.Names.CertificateFile)
			break
		}
		if _, err := loadCertificate(c.CertificateFile, c.CertificatePassword); err != nil {
			add("%s: %w", c.Names.CertificateFile, err)
		}
	case ManagedIdentity:
		if c.Secret != "" || c.CertificateFile != "" {
			add("%s is managed-identity, which needs neither secret nor certificate; leave them out", c.Names.Method)
		}
	case WorkloadIdentity:
		if c.Secret != "" || c.CertificateFile != "" {
			add("%s is workload-identity, which needs neither secret nor certificate; leave them out", c.Names.Method)
		}
		if c.TokenFile == "" {
			add("%s: give the file of the federated token, which Kubernetes sets for a pod with a workload identity", TokenFileSetting)
		}
	default:
		add("%s: %q is none of %s", c.Names.Method, string(c.Method), list(methods))
	}
	return errors.Join(faults...)
}

// LogValue shows who signs in and how, never the proof.
func (c Credential) LogValue() slog.Value {
	return slog.GroupValue(slog.String("client_id", c.ClientID), slog.String("method", string(c.Effective())))
}

// String keeps secrets out of %v and %s.
func (c Credential) String() string { return c.LogValue().String() }

// GoString keeps secrets out of %#v.
func (c Credential) GoString() string { return "entra.Credential{" + c.String() + "}" }

func list[S ~string](all []S) string {
	words := make([]string, len(all))
	for i, s := range all {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

// isGUID accepts a GUID in either case.
func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}
