package app

import (
	"context"
	"time"

	"github.com/mdebot/mdebot/internal/defender"
)

const (
	// tagsEvery is how often the machines with the tags that decide are looked up.
	tagsEvery = 15 * time.Minute
	// maxTagged bounds what is remembered of one tag.
	maxTagged = 20_000
)

// watchTags remembers which machines have the tags that rules read, so that taking
// one off does not loosen a rule at once (threat-model A-24). It runs until ctx ends.
func (a *App) watchTags(ctx context.Context) {
	var next time.Time
	tick := time.NewTicker(warnLook)
	defer tick.Stop()
	for {
		if now := a.now(); !now.Before(next) {
			next = now.Add(tagsEvery)
			for _, tag := range a.policy.Current().For(a.tenant).DecisiveTags() {
				if err := a.sawTag(ctx, tag); err != nil && ctx.Err() == nil {
					a.log.WarnContext(ctx, "machines with a tag not looked up; what was seen before still counts", "tag", tag, "error", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *App) sawTag(ctx context.Context, tag string) error {
	var machines []string
	for m, err := range a.defender.For(defender.LaneAlerts).Machines(ctx, defender.MachineFilter{Tag: tag, Limit: maxTagged}) {
		if err != nil {
			return err
		}
		machines = append(machines, m.ID)
	}
	return a.approvals.SawTag(ctx, a.tenant, tag, machines)
}
