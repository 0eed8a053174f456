// Package tenant names whose data a row, job, key or log line belongs to.
package tenant

// ID is the Entra tenant ID of a Defender tenant: the customer whose alerts and
// machines are meant. It is not the home tenant of a person
// ([github.com/mdebot/mdebot/internal/identity.PersonID]) and not a chat
// workspace; the three are separate types so that none can stand in for another
// (threat-model M-01).
type ID string
