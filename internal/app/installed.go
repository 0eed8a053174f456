package app

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/slackbot"
)

// examineManifest compares the app as Slack has it with the manifest that this
// binary prints. Slack shows an app's manifest to an app configuration token alone,
// which could also rewrite it, so the bot never has one and doctor is given a file.
// See https://docs.slack.dev/reference/methods/apps.manifest.export.
func examineManifest(ctx context.Context, cfg Config, bot *slackbot.Bot, tokenFile string) check {
	c := check{Name: "Slack app manifest", Outcome: skipped, Next: "To compare it, put an app configuration token from api.slack.com/apps into a file and name it with --slack-config-token-file."}
	if tokenFile == "" {
		return c
	}
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return failed(c.Name, err)
	}
	raw, err := bot.InstalledManifest(ctx, strings.TrimSpace(string(token)))
	if err != nil {
		c := failed(c.Name, err)
		c.Next = "App configuration tokens live twelve hours: make a new one at api.slack.com/apps."
		return c
	}
	var have object
	if err := json.Unmarshal(raw, &have); err != nil {
		return failed(c.Name, err)
	}
	want, err := manifestFor(cfg, have)
	if err != nil {
		return failed(c.Name, err)
	}
	differences := differ("", want, have)
	if len(differences) == 0 {
		return check{Name: c.Name, Outcome: fine, Detail: "as this version prints it"}
	}
	return check{
		Name: c.Name, Outcome: doubt, Detail: strings.Join(differences, "\n"),
		Next: "Put the output of mdebot manifest slack into the app's manifest, and install it to the workspace again if scopes differ.",
	}
}

// manifestFor is what the app should be: for Socket Mode, or for the address that
// it has. Names and colours are the owner's.
func manifestFor(cfg Config, have object) (object, error) {
	base := ""
	if cfg.Slack.AppToken == "" {
		base = "https://<your address>"
		if address, ok := strings.CutSuffix(textAt(have, "settings", "interactivity", "request_url"), "/slack/interactions"); ok {
			base = address
		}
	}
	printed, err := slackManifest(base)
	if err != nil {
		return nil, err
	}
	delete(printed, "display_information")
	delete(printed["features"].(object)["bot_user"].(object), "display_name")
	// What was made by hand and what was decoded compare as JSON.
	text, err := json.Marshal(printed)
	if err != nil {
		return nil, err
	}
	var want object
	return want, json.Unmarshal(text, &want)
}

func textAt(in any, path ...string) string {
	for _, key := range path {
		o, _ := in.(object)
		in = o[key]
	}
	s, _ := in.(string)
	return s
}

// differ lists what have lacks or has otherwise. What Slack adds by itself is no
// difference, except in lists: a scope or an event more is one.
func differ(path string, want, have any) []string {
	switch want := want.(type) {
	case object:
		own, _ := have.(object)
		var all []string
		for _, key := range slices.Sorted(maps.Keys(want)) {
			all = append(all, differ(strings.TrimPrefix(path+"."+key, "."), want[key], own[key])...)
		}
		return all
	case []any:
		own, _ := have.([]any)
		var all []string
		for _, item := range want {
			i := slices.IndexFunc(own, func(o any) bool { return nameOf(o) == nameOf(item) })
			if i < 0 {
				all = append(all, fmt.Sprintf("%s: %s is missing", path, nameOf(item)))
				continue
			}
			if _, isObject := item.(object); isObject {
				all = append(all, differ(path+" "+nameOf(item), item, own[i])...)
			}
		}
		for _, item := range own {
			if !slices.ContainsFunc(want, func(w any) bool { return nameOf(w) == nameOf(item) }) {
				all = append(all, fmt.Sprintf("%s: %s is more than the manifest has", path, nameOf(item)))
			}
		}
		return all
	}
	if have == nil && (want == false || want == "") || have == want {
		return nil
	}
	if have == nil {
		return []string{fmt.Sprintf("%s is missing; the manifest has %v", path, want)}
	}
	return []string{fmt.Sprintf("%s is %v; the manifest has %v", path, have, want)}
}

// nameOf is what tells entries of a list apart.
func nameOf(item any) string {
	for _, key := range []string{"command", "callback_id"} {
		if s := textAt(item, key); s != "" {
			return s
		}
	}
	return fmt.Sprint(item)
}
