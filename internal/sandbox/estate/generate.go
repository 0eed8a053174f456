package estate

import (
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Options chooses an estate.
type Options struct {
	Seed   uint64
	Now    time.Time // the present moment of the estate
	Tenant string    // Entra tenant ID of the company
	// Company names its domains; empty means contoso.
	Company string
}

// company is whose estate it is unless told otherwise.
const company = "contoso"

// Generate builds an estate.
func Generate(o Options) *Estate {
	g := &generator{
		company: cmp.Or(o.Company, company),
		rand:    rand.New(rand.NewPCG(o.Seed, 0x6d6465)),
		now:     o.Now,
		estate:  &Estate{Tenant: o.Tenant},
	}
	g.people()
	g.machines()
	g.events()
	g.alerts()
	return g.estate
}

type generator struct {
	company string
	rand    *rand.Rand
	now     time.Time
	estate  *Estate
	nextIP  int
}

// suffix ends the names of machines that are joined to the company's domain.
func (g *generator) suffix() string { return ".corp." + g.company + ".com" }

// ago returns a moment between least and most before now.
func (g *generator) ago(least, most time.Duration) time.Time {
	return g.now.Add(-least - time.Duration(g.rand.Int64N(int64(most-least)+1)))
}

func (g *generator) uuid() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(g.rand.Uint32())
	}
	id, _ := uuid.FromBytes(b[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id.String()
}

var (
	firstNames = strings.Fields("Avery Riley Jordan Sam Noor Priya Mateo Lena Tomasz Ines Kofi Yuki Omar Freya Hugo Amina Pavel Chloe Diego Mei")
	lastNames  = strings.Fields("Chen Okafor Novak Silva Haddad Larsen Kim Moreau Schmidt Iyer Costa Walsh Tanaka Petrov Mensah Rossi")
)

func (g *generator) people() {
	seen := map[string]bool{}
	add := func(first, last, account string, admin bool) {
		if seen[account] {
			return
		}
		seen[account] = true
		g.estate.Users = append(g.estate.Users, User{
			ID: g.company + `\` + account, AccountName: account, AccountDomain: g.company,
			AccountSID:    fmt.Sprintf("S-1-5-21-1842957103-2291736458-839522115-%d", 1104+len(g.estate.Users)),
			FirstSeen:     At(g.ago(200*day, 700*day)),
			LastSeen:      At(g.ago(time.Minute, day)),
			LogonTypes:    "Interactive",
			IsDomainAdmin: admin,
			DisplayName:   first + " " + last,
			Principal:     account + "@" + g.company + ".com",
			ObjectID:      g.uuid(),
		})
	}
	for len(g.estate.Users) < 140 {
		first, last := pick(g, firstNames), pick(g, lastNames)
		add(first, last, strings.ToLower(first[:1]+last+suffixFor(seen, strings.ToLower(first[:1]+last))), false)
	}
	add("Server", "Admin", "adm-server", false)
	add("Domain", "Admin", "adm-domain", true)
}

// suffixFor numbers accounts that would otherwise be equal.
func suffixFor(seen map[string]bool, account string) string {
	if !seen[account] {
		return ""
	}
	for n := 2; ; n++ {
		if !seen[fmt.Sprint(account, n)] {
			return fmt.Sprint(n)
		}
	}
}

const day = 24 * time.Hour

func pick[T any](g *generator, from []T) T { return from[g.rand.IntN(len(from))] }

func ptr[T any](v T) *T { return &v }

// hashOf derives stable hexadecimal IDs from names, so that IDs do not change
// when a machine is added before others.
func hashOf(parts ...string) string {
	sum := sha1.Sum([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

func sha256Of(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}
