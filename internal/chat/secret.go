package chat

import "regexp"

// secretShapes are what the secrets of the platforms that mdebot talks to look
// like: Slack tokens and response addresses, signed tokens, client secrets of
// Entra, keys of AWS and GitHub, private keys.
var secretShapes = regexp.MustCompile(`\bxox[a-z]-[0-9A-Za-z-]{8,}|\bxapp-[0-9A-Za-z-]{8,}|https://hooks\.slack(?:-gov)?\.com/\S+` +
	`|\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]*)?|\b[0-9A-Za-z_~.-]{3}\dQ~[0-9A-Za-z_~.-]{30,}` +
	`|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[0-9A-Za-z]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY-----`)

const masked = "[secret]"

// HoldsSecret reports whether s holds something with the shape of a secret.
func HoldsSecret(s string) bool { return secretShapes.MatchString(s) }

// WithoutSecrets is s with everything that has the shape of a secret masked.
func WithoutSecrets(s string) string { return secretShapes.ReplaceAllLiteralString(s, masked) }
