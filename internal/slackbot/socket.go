package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/slack-go/slack/socketmode"
)

const (
	// sockets overlap: slack-go drops a connection that Slack wants renewed before
	// it opens the next one.
	sockets = 2
	// maxFrame bounds one message of the websocket.
	maxFrame = 4 << 20
)

// runSockets keeps the Socket Mode connections until ctx ends, with the secrets in
// force. It returns early when Slack refuses the app-level token.
func (b *Bot) runSockets(ctx context.Context) error {
	for {
		until, stop := context.WithCancel(ctx)
		over := make(chan error, 1)
		go func() { over <- b.connectSockets(until) }()
		select {
		case err := <-over:
			stop()
			return err
		case <-b.rotated:
			stop()
			if err := <-over; err != nil {
				return err
			}
		}
	}
}

func (b *Bot) connectSockets(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for range sockets {
		client := socketmode.New(b.client.Load(), socketmode.OptionReadLimit(maxFrame), socketmode.OptionDialer(b.dialer))
		running.Go(func() {
			if err := client.RunContext(ctx); ctx.Err() == nil {
				cancel(fmt.Errorf("socket mode: %w", refusal("open a connection", err)))
			}
		})
		running.Go(func() { b.readSocket(ctx, client) })
	}
	running.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// readSocket takes deliveries off the socket at once: a reader that waits makes
// slack-go miss pings and reconnect.
func (b *Bot) readSocket(ctx context.Context, client *socketmode.Client) {
	var taking sync.WaitGroup
	defer taking.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-client.Events:
			req := e.Request
			switch e.Type {
			case socketmode.EventTypeErrorBadMessage:
				// slack-go knows fewer kinds of elements than Slack sends; our own
				// decoder reads only what it needs.
				req = rawRequest(e.Data)
			case socketmode.EventTypeConnectionError, socketmode.EventTypeInvalidAuth:
				b.logger.WarnContext(ctx, "socket mode connection failed")
				b.cfg.OnSocket(false)
			case socketmode.EventTypeConnected:
				b.logger.InfoContext(ctx, "socket mode connected")
				b.cfg.OnSocket(true)
			default: // deliveries are told by their envelope
			}
			if req == nil || req.EnvelopeID == "" {
				continue
			}
			taking.Go(func() { b.takeEnvelope(ctx, client, *req) })
		}
	}
}

func rawRequest(data any) *socketmode.Request {
	bad, ok := data.(*socketmode.ErrorBadMessage)
	if !ok {
		return nil
	}
	var req socketmode.Request
	if json.Unmarshal(bad.Message, &req) != nil {
		return nil
	}
	return &req
}

// takeEnvelope accepts one delivery and acknowledges it. What there is no room
// for stays unacknowledged, so that Slack repeats it or tells the person.
func (b *Bot) takeEnvelope(ctx context.Context, client *socketmode.Client, req socketmode.Request) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	answer, err := b.acceptEnvelope(ctx, req)
	if err != nil {
		b.logger.WarnContext(ctx, "delivery refused", slog.String("kind", req.Type), slog.Any("error", err))
		if !errors.Is(err, errMalformed) && !errors.Is(err, errWrongRoute) && !errors.Is(err, errForeign) {
			return
		}
	}
	var payload any
	if req.AcceptsResponsePayload && len(answer.body) > 0 {
		payload = json.RawMessage(answer.body)
	}
	if err := client.AckCtx(ctx, req.EnvelopeID, payload); err != nil {
		b.logger.WarnContext(ctx, "delivery not acknowledged", slog.String("kind", req.Type), slog.Any("error", err))
		return
	}
	b.cfg.OnAck(time.Since(began))
}

// acceptEnvelope applies the checks of the HTTP routes, except the signature: the
// connection itself is authenticated.
func (b *Bot) acceptEnvelope(ctx context.Context, req socketmode.Request) (answer ack, err error) {
	defer func() {
		if recover() != nil {
			b.logger.ErrorContext(ctx, "panic while accepting")
			err = errBusy
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, answerWithin+500*time.Millisecond)
	defer cancel()
	switch req.Type {
	case socketmode.RequestTypeSlashCommands:
		var c slashCommand
		if err := strictJSON(req.Payload, &c); err != nil {
			return ack{}, err
		}
		return b.takeSlash(ctx, c)
	case socketmode.RequestTypeInteractive:
		return b.takeInteraction(ctx, req.Payload)
	case socketmode.RequestTypeEventsAPI:
		var e eventEnvelope
		if err := strictJSON(req.Payload, &e); err != nil {
			return ack{}, err
		}
		return ack{}, b.takeEvent(ctx, e)
	}
	return ack{}, errWrongRoute
}
