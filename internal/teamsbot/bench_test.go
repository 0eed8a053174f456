package teamsbot

import (
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/chat"
)

// BenchmarkRender draws cards as they are sent: a typical one, and one whose
// every text is too long.
func BenchmarkRender(b *testing.B) {
	for name, m := range map[string]chat.Message{"typical": full("web-01"), "huge": full(strings.Repeat(strings.Join(hostile, " "), 50))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				encode(card(m))
			}
		})
	}
}
