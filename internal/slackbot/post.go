package slackbot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	// deliveryEvent and deliveryKey mark a post so that it can be found again.
	// Everyone in the workspace can read a message's metadata.
	deliveryEvent = "mde_delivery"
	deliveryKey   = "id"
	// findPages bounds how far back Find reads, at 200 messages each.
	findPages = 10
)

// Post implements [chat.Poster].
func (b *Bot) Post(ctx context.Context, p chat.Post) (chat.Ref, error) {
	channel, err := b.resolve(ctx, p.To, p.Admits)
	if err != nil {
		return chat.Ref{}, err
	}
	opts := []slack.MsgOption{}
	if p.Delivery != "" {
		opts = append(opts, slack.MsgOptionMetadata(slack.SlackMetadata{
			EventType: deliveryEvent, EventPayload: map[string]any{deliveryKey: p.Delivery},
		}))
	}
	if p.Thread != "" && p.Broadcast {
		opts = append(opts, slack.MsgOptionBroadcast())
	}
	ref, err := b.send(ctx, channel, p.Thread, p.Message, opts...)
	if err != nil {
		return chat.Ref{}, err
	}
	if len(p.Message.Files) > 0 || p.Message.Picture != nil {
		// The post stands whatever becomes of its files; an error here would have it
		// posted again.
		thread := p.Thread
		if thread == "" {
			thread = ref.MessageID
		}
		if _, err := b.upload(ctx, channel, thread, p.Message); err != nil {
			b.logger.WarnContext(ctx, "file not uploaded", slog.String("conversation_id", channel), slog.Any("error", err))
		}
	}
	return ref, nil
}

// send makes one attempt to post m, and a second one in plain text when Slack
// refuses its form, which means that the first had no effect.
func (b *Bot) send(ctx context.Context, channel, thread string, m chat.Message, opts ...slack.MsgOption) (chat.Ref, error) {
	const op = "post a message"
	me, err := b.self.get(ctx)
	if err != nil {
		return chat.Ref{}, err
	}
	if thread != "" {
		opts = append(opts, slack.MsgOptionTS(thread))
	}
	var ref chat.Ref
	err = b.withFallback(m.ForAll(), func(d drawn) error {
		where, ts, err := b.client.Load().PostMessageContext(ctx, channel, append(messageOptions(d), opts...)...)
		switch {
		case err != nil:
			return unclearOr(refusal(op, err), unclear(err))
		case where == "" || ts == "":
			return fmt.Errorf("%s: %w: the answer names no message; is a proxy answering?", op, chat.ErrUnclear)
		}
		ref = chat.Ref{
			Conversation: chat.Conversation{
				Platform: identity.Slack, Workspace: me.workspace, ID: where, Thread: thread, Direct: where[0] == 'D',
			},
			MessageID: ts,
		}
		return nil
	})
	return ref, err
}

// messageOptions always sends text, blocks and attachments: an edit that leaves
// one out may keep the old one.
func messageOptions(d drawn) []slack.MsgOption {
	if d.attachments == nil {
		d.attachments = []slack.Attachment{} // nil would not clear them
	}
	return []slack.MsgOption{
		slack.MsgOptionText(d.text, false), slack.MsgOptionBlocks(d.blocks...), slack.MsgOptionAttachments(d.attachments...),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	}
}

// Edit implements [chat.Poster].
func (b *Bot) Edit(ctx context.Context, ref chat.Ref, m chat.Message) error {
	return b.withFallback(m.ForAll(), func(d drawn) error {
		_, ts, _, err := b.client.Load().UpdateMessageContext(ctx, ref.Conversation.ID, ref.MessageID, messageOptions(d)...)
		switch {
		case err != nil:
			return unclearOr(refusal("edit a message", err), unclear(err))
		case ts == "":
			return fmt.Errorf("edit a message: %w: the answer names no message; is a proxy answering?", chat.ErrUnclear)
		}
		return nil
	})
}

// Find implements [chat.Poster]. It reads at most the 2,000 latest messages.
func (b *Bot) Find(ctx context.Context, p chat.Post, since time.Time) (chat.Ref, bool, error) {
	const op = "look for a posted message"
	channel, err := b.resolve(ctx, p.To, p.Admits)
	if err != nil {
		return chat.Ref{}, false, err
	}
	me, err := b.self.get(ctx)
	if err != nil {
		return chat.Ref{}, false, err
	}
	oldest := strconv.FormatInt(since.Add(-time.Minute).Unix(), 10)
	cursor := ""
	for range findPages {
		messages, next, err := b.page(ctx, channel, p.Thread, oldest, cursor)
		if err != nil {
			return chat.Ref{}, false, refusal(op, err)
		}
		for _, m := range messages {
			if (m.BotID == me.botID || m.User == me.botUser) && m.Metadata.EventType == deliveryEvent && m.Metadata.EventPayload[deliveryKey] == p.Delivery {
				return chat.Ref{
					Conversation: chat.Conversation{
						Platform: identity.Slack, Workspace: me.workspace, ID: channel, Thread: p.Thread, Direct: channel[0] == 'D',
					},
					MessageID: m.Timestamp,
				}, true, nil
			}
		}
		if next == "" {
			break
		}
		cursor = next
	}
	return chat.Ref{}, false, nil
}

// errEmptyAnswer reports an answer with nothing in it. slack-go takes "{}", as from a
// proxy, for a list without messages, and a post that was made would be made again.
var errEmptyAnswer = errors.New("the answer is empty; is a proxy answering?")

func (b *Bot) page(ctx context.Context, channel, thread, oldest, cursor string) ([]slack.Message, string, error) {
	const limit = 200
	if thread != "" {
		messages, _, next, err := b.client.Load().GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{
			ChannelID: channel, Timestamp: thread, Oldest: oldest, Cursor: cursor, Limit: limit, IncludeAllMetadata: true,
		})
		if err == nil && cursor == "" && len(messages) == 0 {
			err = errEmptyAnswer // a thread shows its first message at least
		}
		return messages, next, err
	}
	history, err := b.client.Load().GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
		ChannelID: channel, Oldest: oldest, Cursor: cursor, Limit: limit, IncludeAllMetadata: true,
	})
	if err == nil && !history.Ok {
		err = errEmptyAnswer
	}
	if err != nil {
		return nil, "", err
	}
	return history.Messages, history.ResponseMetaData.NextCursor, nil
}

// resolve is the channel that a destination means, if the bot may post there what
// those admitted may read.
func (b *Bot) resolve(ctx context.Context, to chat.Destination, admits chat.Readers) (string, error) {
	if to.Platform() != identity.Slack {
		return "", fmt.Errorf("%s is no Slack destination: %w", to, chat.ErrNotThere)
	}
	if account, ok := to.Account(); ok {
		me, err := b.self.get(ctx)
		if err != nil {
			return "", err
		}
		if account.Workspace != me.workspace && me.enterprise == "" {
			return "", fmt.Errorf("%s: the account is of another workspace: %w", to, chat.ErrNotThere)
		}
		return b.directChannel(ctx, account.Account)
	}
	channel := to.ID()
	if channel == "" {
		return "", fmt.Errorf("%s: %w", to, chat.ErrNotThere)
	}
	return channel, b.checkPlace(ctx, channel, admits)
}

// directChannel is the direct chat with an account of the workspace.
func (b *Bot) directChannel(ctx context.Context, user string) (string, error) {
	if channel, ok := b.directs.get(user); ok {
		return channel, nil
	}
	opened, _, _, err := b.client.Load().OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{user}, ReturnIM: true})
	if err != nil {
		return "", refusal("open a direct chat", err)
	}
	if opened == nil || !strings.HasPrefix(opened.ID, "D") {
		return "", errors.New("open a direct chat: the answer names none; is a proxy answering?")
	}
	b.directs.put(user, opened.ID)
	return opened.ID, nil
}

// upload sends m's picture and files into a conversation. It returns the IDs of
// those that arrived.
func (b *Bot) upload(ctx context.Context, channel, thread string, m chat.Message) (sent []string, _ error) {
	files := m.Files
	if m.Picture != nil {
		files = append([]chat.File{{Name: "picture.png", Type: "image/png", Content: m.Picture.PNG}}, files...)
	}
	var faults []error
	for i, f := range files {
		if len(f.Content) == 0 {
			continue
		}
		params := slack.UploadFileParameters{
			Reader: bytes.NewReader(f.Content), FileSize: len(f.Content), Filename: f.Name, Title: f.Name, Channel: channel, ThreadTimestamp: thread,
		}
		if m.Picture != nil && i == 0 {
			params.AltTxt = literal(m.Picture.Alt, 1_000)
		}
		done, err := b.client.Load().UploadFileContext(ctx, params)
		if err != nil {
			faults = append(faults, refusal("upload "+f.Name, err))
			continue
		}
		sent = append(sent, done.ID)
	}
	return sent, errors.Join(faults...)
}

// DeleteFile removes a file that the bot sent. One that is gone already is no
// error. Slack: https://docs.slack.dev/reference/methods/files.delete
func (b *Bot) DeleteFile(ctx context.Context, file string) error {
	err := b.client.Load().DeleteFileContext(ctx, file)
	var refused slack.SlackErrorResponse
	if errors.As(err, &refused) && (refused.Err == "file_not_found" || refused.Err == "file_deleted") {
		return nil
	}
	return wrapRefusal("delete file", err)
}

func wrapRefusal(op string, err error) error {
	if err == nil {
		return nil
	}
	return refusal(op, err)
}
