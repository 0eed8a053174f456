package defender

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
)

// Explain is what is wrong with the way to Defender, and what to do about it, for
// people: no token, a certificate nobody trusts, a name that is not found. ok is
// false for all other errors.
func Explain(err error) (sentence, next string, ok bool) {
	var signIn *SignInError
	var untrusted *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name *net.DNSError
	switch {
	case errors.As(err, &signIn):
		return signIn.Sentence, signIn.Next, true
	case errors.As(err, &untrusted), errors.As(err, &authority):
		return "The certificate on the way to Microsoft is signed by somebody this machine does not trust, as a proxy that inspects TLS does.",
			"Put the proxy's CA certificate into a PEM file and name it in MDEBOT_CA_FILE.", true
	case errors.As(err, &name):
		return "The name " + name.Name + " is not found on this network.", "Check DNS, or set HTTPS_PROXY if there is a proxy.", true
	}
	return "", "", false
}

// Reason is err in one sentence where there is one for people, and its text
// otherwise.
func Reason(err error) string {
	if sentence, _, ok := Explain(err); ok {
		return sentence
	}
	return err.Error()
}
