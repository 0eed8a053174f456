package teamsbot

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/defender"
)

type portal struct{ cards.Portal }

func (portal) Alert(id string) string {
	return "https://security.microsoft.com/alerts/" + id + "?tid=6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f001"
}

// A storm's page is the only place where its alerts are named, so none may be cut
// off however long their titles are.
func TestStormPage_namesEveryAlert(t *testing.T) {
	t.Parallel()
	var alerts []defender.Alert
	for i := range cards.StormPageSize {
		alerts = append(alerts, defender.Alert{
			ID: fmt.Sprintf("da63931290458453%04d_-1364969609", i), Severity: defender.High,
			MachineName: fmt.Sprintf("workstation-%03d.a-rather-long-domain.corp.contoso.com", i),
			Title:       fmt.Sprintf("Alert %03d: %s", i, strings.Repeat("suspicious behaviour of a process ", 8)),
		})
	}
	text := string(encode(card(cards.StormPage(alerts, 1, portal{}))))
	for i, a := range alerts {
		if !strings.Contains(text, a.ID) || !strings.Contains(text, fmt.Sprintf("Alert %03d: suspicious", i)) {
			t.Errorf("alert %s is not named", a.ID)
		}
	}
}
