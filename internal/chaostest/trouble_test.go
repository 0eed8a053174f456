package chaostest

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

const isolate = "POST /api/machines/*/isolate"

// troubles are what the services around do: slow, refusing, lying or gone.
var troubles = []struct {
	name string
	do   func(w *sandbox.World)
}{
	{"Slack throttles", slack(slacksim.Fault{Kind: slacksim.FaultThrottle, RetryAfter: "1", Times: 3})},
	{"Slack fails", slack(slacksim.Fault{Kind: slacksim.FaultServerError, Times: 4})},
	{"Slack is slow", slack(slacksim.Fault{Kind: slacksim.FaultHang, Delay: 2 * time.Second, Times: 2})},
	{"Slack is gone", slack(slacksim.Fault{Kind: slacksim.FaultDrop, Times: 20})},
	{"Slack posts and hangs up", slack(slacksim.Fault{Method: "chat.postMessage", Kind: slacksim.FaultDropAfter, Times: 3})},
	{"Slack posts and is silent", slack(slacksim.Fault{Method: "chat.postMessage", Kind: slacksim.FaultLostAnswer, Delay: 3 * time.Second, Times: 1})},
	{"Slack is a proxy", slack(slacksim.Fault{Kind: slacksim.FaultHTML, Times: 3})},
	{"Slack answers nothing", slack(slacksim.Fault{Kind: slacksim.FaultEmpty, Times: 3})},
	{"Teams throttles", teams(teamssim.Fault{Status: http.StatusTooManyRequests, RetryAfter: "1", Times: 3})},
	{"Teams fails", teams(teamssim.Fault{Status: http.StatusBadGateway, Times: 4})},
	{"Teams is slow", teams(teamssim.Fault{Hang: 2 * time.Second, Times: 2})},
	{"Teams is gone", teams(teamssim.Fault{Status: http.StatusServiceUnavailable, Times: 20})},
	{"Teams posts and hangs up", teams(teamssim.Fault{Method: http.MethodPost, Path: "/activities", DropAfterEffect: true, Times: 2})},
	{"Teams is a proxy", teams(teamssim.Fault{Status: http.StatusOK, Body: "<html>sign in</html>", Times: 2})},
	{"Entra fails", entra(fault.Fault{Kind: fault.Answer, Status: 503, Times: 4})},
	{"Entra is silent", entra(fault.Fault{Kind: fault.Delay, Wait: 3 * time.Second, Times: 2})},
	{"Graph fails", atDefender(fault.Fault{Kind: fault.Answer, Status: 503, Route: "/v1.0/**", Times: 4})},
	{"Defender's reads fail", atDefender(fault.Fault{Kind: fault.Answer, Status: 503, Route: "GET /api/**", Times: 6})},
	{"Defender's reads are slow", atDefender(fault.Fault{Kind: fault.Delay, Wait: 2 * time.Second, Route: "GET /api/**", Times: 6})},
	{"Defender throttles", atDefender(fault.Fault{Kind: fault.Answer, Status: 429, Header: http.Header{"Retry-After": {"1"}}, Route: "GET /api/**", Times: 3})},
	{"Defender is a proxy", atDefender(fault.Fault{Kind: fault.Answer, Status: 200, Body: "<html>sign in</html>", Route: "GET /api/**", Times: 3})},
	{"Defender does not act and does not answer", atDefender(fault.Fault{Kind: fault.Drop, Route: isolate, Times: 1})},
	{"Defender acts and does not answer", atDefender(fault.Fault{Kind: fault.ActDrop, Route: isolate, Times: 1})},
	{"Defender acts and answers too late", atDefender(fault.Fault{Kind: fault.ActDelay, Wait: 12 * time.Second, Route: isolate, Times: 1})},
	{"Defender acts after a refusal", atDefender(fault.Fault{Kind: fault.ActLate, Wait: 2 * time.Second, Status: 504, Route: isolate, Times: 1})},
	{"Defender acts and says that it failed", atDefender(fault.Fault{Kind: fault.ActAnswer, Status: 500, Route: isolate, Times: 1})},
	{"Defender lists an action late", atDefender(fault.Fault{Kind: "defender-listed-late", Wait: 8 * time.Second, Route: isolate, Times: 1})},
	{"Defender lists an action twice", atDefender(fault.Fault{Kind: "defender-listed-twice", Route: isolate, Times: 1})},
	{"Defender shows another machine", atDefender(fault.Fault{Kind: "defender-wrong-object", Route: "GET /api/machines/*", Times: 2})},
	{"Defender's page leads elsewhere", atDefender(fault.Fault{Kind: "defender-foreign-next-link", Route: "GET /api/alerts", Times: 1})},
}

func slack(f slacksim.Fault) func(*sandbox.World) {
	return func(w *sandbox.World) { w.Slack.Inject(f) }
}

func teams(f teamssim.Fault) func(*sandbox.World) { return func(w *sandbox.World) { w.Teams.Fail(f) } }

func entra(f fault.Fault) func(*sandbox.World) {
	return func(w *sandbox.World) { w.Entra.Faults.Add(f) }
}

func atDefender(f fault.Fault) func(*sandbox.World) {
	return func(w *sandbox.World) { w.Defender.Faults.Add(f) }
}

// makeTrouble lets one thing after the other go wrong.
func (r *round) makeTrouble(ctx context.Context, draw *rand.Rand) {
	for pause(ctx, time.Duration(500+draw.IntN(2500))*time.Millisecond) {
		n := draw.IntN(len(troubles) + 2)
		switch {
		case n < len(troubles):
			troubles[n].do(r.world)
		case r.replicas > 0:
			r.killPostgres()
		}
	}
}

// heal ends all trouble.
func (r *round) heal() {
	r.world.Slack.ClearFaults()
	r.world.Teams.Heal()
	r.world.Entra.Faults.Clear()
	r.world.Defender.Faults.Clear()
}
