package slackbot

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/mdebot/mdebot/internal/wire"
)

// Why a verified delivery is refused.
var (
	errMalformed  = errors.New("malformed")
	errWrongRoute = errors.New("this kind does not belong here")
)

// The structs below hold only what is used, so that a field or block Slack adds
// tomorrow cannot make a click on an old card undecodable.

type slashCommand struct {
	Command      string `json:"command"`
	Text         string `json:"text"`
	UserID       string `json:"user_id"`
	UserName     string `json:"user_name"`
	TeamID       string `json:"team_id"`
	EnterpriseID string `json:"enterprise_id"`
	ChannelID    string `json:"channel_id"`
	ResponseURL  string `json:"response_url"`
	TriggerID    string `json:"trigger_id"`
	APIAppID     string `json:"api_app_id"`
	SSLCheck     string `json:"ssl_check"`
}

type interaction struct {
	Type     string `json:"type"`
	APIAppID string `json:"api_app_id"`
	Team     *struct {
		ID string `json:"id"`
	} `json:"team"`
	Enterprise *struct {
		ID string `json:"id"`
	} `json:"enterprise"`
	User struct {
		ID       string `json:"id"`
		Username string `json:"username"`
		TeamID   string `json:"team_id"`
	} `json:"user"`
	TriggerID   string `json:"trigger_id"`
	ResponseURL string `json:"response_url"`
	Container   struct {
		Type        string `json:"type"`
		MessageTS   string `json:"message_ts"`
		ChannelID   string `json:"channel_id"`
		ThreadTS    string `json:"thread_ts"`
		IsEphemeral bool   `json:"is_ephemeral"`
	} `json:"container"`
	// Of message_action, with ActionTS.
	CallbackID string          `json:"callback_id"`
	ActionTS   string          `json:"action_ts"`
	Message    json.RawMessage `json:"message"`
	Channel    struct {
		ID string `json:"id"`
	} `json:"channel"`
	Actions []struct {
		Type           string  `json:"type"`
		ActionID       string  `json:"action_id"`
		Value          string  `json:"value"`
		ActionTS       string  `json:"action_ts"`
		SelectedOption *option `json:"selected_option"`
	} `json:"actions"`
	View *struct {
		ID              string `json:"id"`
		Type            string `json:"type"`
		Hash            string `json:"hash"`
		CallbackID      string `json:"callback_id"`
		PrivateMetadata string `json:"private_metadata"`
		State           struct {
			Values map[string]map[string]struct {
				Value          string  `json:"value"`
				SelectedOption *option `json:"selected_option"`
			} `json:"values"`
		} `json:"state"`
	} `json:"view"`
	// Of block_suggestion.
	ActionID string `json:"action_id"`
	BlockID  string `json:"block_id"`
	Value    string `json:"value"`
}

type option struct {
	Value string `json:"value"`
}

type eventEnvelope struct {
	Type         string          `json:"type"`
	Challenge    string          `json:"challenge"`
	TeamID       string          `json:"team_id"`
	EnterpriseID string          `json:"enterprise_id"`
	APIAppID     string          `json:"api_app_id"`
	EventID      string          `json:"event_id"`
	External     bool            `json:"is_ext_shared_channel"`
	Event        json.RawMessage `json:"event"`
}

type event struct {
	Type        string `json:"type"`
	Subtype     string `json:"subtype"`
	User        string `json:"user"`
	BotID       string `json:"bot_id"`
	AppID       string `json:"app_id"`
	Text        string `json:"text"`
	TS          string `json:"ts"`
	ThreadTS    string `json:"thread_ts"`
	Channel     string `json:"channel"`
	ChannelType string `json:"channel_type"`
	Team        string `json:"team"`
	UserTeam    string `json:"user_team"`
	Tab         string `json:"tab"` // of app_home_opened
	// Of link_shared.
	MessageTS string `json:"message_ts"`
	Source    string `json:"source"`
	BotIn     bool   `json:"is_bot_user_member"`
	Links     []struct {
		URL string `json:"url"`
	} `json:"links"`
	Edited json.RawMessage `json:"edited"`
}

// strictForm decodes a form and refuses repeated fields.
func strictForm(body []byte) (url.Values, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("%w: form", errMalformed)
	}
	for _, values := range form {
		if len(values) != 1 {
			return nil, fmt.Errorf("%w: a form field is repeated", errMalformed)
		}
	}
	return form, nil
}

// strictJSON decodes a document that two readers cannot read differently.
func strictJSON(body []byte, v any) error {
	if err := wire.StrictJSON(body); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: unexpected JSON type", errMalformed)
	}
	return nil
}

func decodeSlashForm(body []byte) (slashCommand, error) {
	form, err := strictForm(body)
	if err != nil {
		return slashCommand{}, err
	}
	if form.Has("payload") {
		return slashCommand{}, errWrongRoute
	}
	return slashCommand{
		Command: form.Get("command"), Text: form.Get("text"), UserID: form.Get("user_id"), UserName: form.Get("user_name"),
		TeamID: form.Get("team_id"), EnterpriseID: form.Get("enterprise_id"), ChannelID: form.Get("channel_id"),
		ResponseURL: form.Get("response_url"), TriggerID: form.Get("trigger_id"), APIAppID: form.Get("api_app_id"),
		SSLCheck: form.Get("ssl_check"),
	}, nil
}

// interactionPayload is the JSON inside an interaction's form.
func interactionPayload(body []byte) ([]byte, error) {
	form, err := strictForm(body)
	if err != nil {
		return nil, err
	}
	if len(form) != 1 || !form.Has("payload") {
		return nil, errWrongRoute
	}
	return []byte(form.Get("payload")), nil
}
