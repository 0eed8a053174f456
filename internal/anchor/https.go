package anchor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/tenant"
)

// https posts each anchor to an address, and asks the same address with
// ?tenant=ID for the newest one.
type https struct {
	url    *url.URL
	client *http.Client
}

var _ Reader = (*https)(nil)

func newHTTPS(u *url.URL, transport http.RoundTripper) *https {
	return &https{url: u, client: &http.Client{
		Transport: transport, Timeout: sendTimeout,
		// The address is where evidence goes; it does not move by itself.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// String is the host alone: path and query may hold a token.
func (h *https) String() string { return "https://" + h.url.Host }

func (*https) Every() time.Duration { return interval }

func (h *https) Send(ctx context.Context, a audit.Anchor) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = h.call(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	return err
}

// errNotKept says that an address takes anchors and does not hand them out.
var errNotKept = errors.New("it does not hand out anchors")

func (h *https) Newest(ctx context.Context, id tenant.ID, public string) (audit.Anchor, bool, error) {
	u := *h.url
	q := u.Query()
	q.Set("tenant", string(id))
	u.RawQuery = q.Encode()
	body, err := h.call(ctx, http.MethodGet, &u, nil)
	if err != nil {
		return audit.Anchor{}, false, err
	}
	if len(body) == 0 {
		return audit.Anchor{}, false, nil
	}
	var a audit.Anchor
	if json.Unmarshal(body, &a) != nil || a.Tenant != id {
		return audit.Anchor{}, false, errNotKept
	}
	if public != "" {
		if err := a.SignedBy(public); err != nil {
			return audit.Anchor{}, false, err
		}
	}
	return a, true, nil
}

func (h *https) call(ctx context.Context, method string, u *url.URL, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, errors.New("the address is not valid")
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := h.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the address
		}
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	switch {
	case err != nil:
		return nil, err
	case method == http.MethodGet && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed):
		return nil, errNotKept
	case resp.StatusCode/100 != 2:
		return nil, fmt.Errorf("answered %d", resp.StatusCode)
	}
	return answer, nil
}
