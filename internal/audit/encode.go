package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// domain separates these hashes from every other use of SHA-256 in mdebot.
const domain = "mdebot/audit/v1"

// row is a record exactly as its columns hold it. The hash covers these texts
// and not what they decode to, so a change that decodes to the same value is
// found as well.
type row struct {
	tenant                 string
	seq, at                int64
	kind                   string
	person, personName     string
	account                string
	conversation, delivery string
	request, digest        string
	policyHash, outcome    string
	detail                 string
	prev, hash             string
}

// sum is the hex SHA-256 over every column but hash.
func (r row) sum() string {
	h := sha256.Sum256(r.encode(nil))
	return hex.EncodeToString(h[:])
}

// encode appends what the hash covers to b. Each field is preceded by its length,
// so no two different rows have the same encoding.
func (r row) encode(b []byte) []byte {
	for _, field := range []string{domain, r.tenant} {
		b = appendField(b, field)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(r.seq))
	b = binary.BigEndian.AppendUint64(b, uint64(r.at))
	for _, field := range []string{
		r.kind, r.person, r.personName, r.account, r.conversation, r.delivery,
		r.request, r.digest, r.policyHash, r.outcome, r.detail, r.prev,
	} {
		b = appendField(b, field)
	}
	return b
}

func appendField(b []byte, field string) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(field)))
	return append(b, field...)
}
