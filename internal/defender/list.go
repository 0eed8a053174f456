package defender

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultPage = 1000
	maxPages    = 200
	// maxEmptyPages bounds how often an empty page may promise another one.
	maxEmptyPages = 3
)

// listCall describes a list.
type listCall struct {
	op, path      string
	api           api
	family        family
	filter        expr
	order, expand string
	limit         int        // rows to return; 0 means all
	pageSize      int        // rows to ask for at once; 0 means limit, or defaultPage
	plain         bool       // a list that pages by next links alone
	options       url.Values // all query options of a plain list
}

type wirePage struct {
	Value []json.RawMessage `json:"value"`
	Next  text              `json:"@odata.nextLink"`
}

// list reads a list page by page, each row once.
func list[W, T any](ctx context.Context, c *Client, l listCall, convert func(W) (string, T)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		seen := make(map[string]bool)
		for rows, err := range c.pages(ctx, l) {
			if err != nil {
				yield(none, err)
				return
			}
			for _, raw := range rows {
				id, row, err := convertRow(raw, convert)
				if err != nil {
					err = &RecordError{Op: l.op, ID: id}
					c.logger.WarnContext(ctx, "record of defender could not be read",
						slog.String("op", l.op), slog.String("tenant_id", string(c.tenant)), slog.Any("error", err))
					if !yield(none, err) {
						return
					}
					continue
				}
				if seen[id] {
					continue
				}
				seen[id] = true
				if !yield(row, nil) || len(seen) == l.limit {
					return
				}
			}
		}
	}
}

func convertRow[W, T any](raw json.RawMessage, convert func(W) (string, T)) (string, T, error) {
	var w W
	var none T
	if err := json.Unmarshal(raw, &w); err != nil {
		return "", none, err
	}
	id, row := convert(w)
	if id == "" {
		return "", none, errors.New("no ID")
	}
	return id, row, nil
}

// collect gathers a list, without the records that could not be read.
func collect[T any](rows iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for row, err := range rows {
		var record *RecordError
		if errors.As(err, &record) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, nil
}

// pages follows next links, and counts rows itself where a full page has none.
func (c *Client) pages(ctx context.Context, l listCall) iter.Seq2[[]json.RawMessage, error] {
	return func(yield func([]json.RawMessage, error) bool) {
		r := call{op: l.op, api: l.api, family: l.family, path: l.path, query: l.query()}
		first := r.url(c.baseOf(l.api))
		links := map[string]bool{first.String(): true}
		skip, empty := 0, 0
		for range maxPages {
			page, err := c.page(ctx, r)
			if errors.Is(err, ErrNotFound) {
				// Only lists of machines are documented to answer 404 when they are
				// empty. Elsewhere it would make a wrong address look like a quiet tenant.
				if l.family == familyMachines && r.link == nil {
					return
				}
				err = fmt.Errorf("%s: %w: the list is not there", l.op, ErrUnavailable)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(page.Value, nil) {
				return
			}
			skip += len(page.Value)
			switch {
			case page.Next != "":
				if empty++; len(page.Value) > 0 {
					empty = 0
				}
				link, err := c.nextLink(first, string(page.Next))
				if err == nil && (links[link.String()] || empty > maxEmptyPages) {
					err = errors.New("the next link leads in a circle")
				}
				if err != nil {
					yield(nil, fmt.Errorf("%s: %w: %w", l.op, ErrUnavailable, err))
					return
				}
				links[link.String()] = true
				r.link = link
			case !l.plain && len(page.Value) >= l.top():
				r.link = nil
				r.query.Set("$skip", strconv.Itoa(skip))
			default:
				return
			}
		}
		yield(nil, fmt.Errorf("%s: %w: more than %d pages", l.op, ErrUnavailable, maxPages))
	}
}

func (c *Client) page(ctx context.Context, r call) (wirePage, error) {
	body, err := c.read(ctx, r)
	if err != nil {
		return wirePage{}, err
	}
	var page wirePage
	if err := decode(body, &page); err != nil {
		return wirePage{}, fmt.Errorf("%s: %w: %w", r.op, ErrUnavailable, err)
	}
	if page.Value == nil {
		return wirePage{}, fmt.Errorf("%s: %w: the answer has no list", r.op, ErrUnavailable)
	}
	return page, nil
}

func (l listCall) top() int { return min(cmp.Or(l.pageSize, l.limit, defaultPage), defaultPage) }

func (l listCall) query() url.Values {
	if l.plain {
		return l.options
	}
	q := url.Values{}
	q.Set("$top", strconv.Itoa(l.top()))
	for name, value := range map[string]string{"$filter": string(l.filter), "$orderby": l.order, "$expand": l.expand} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// nextLink checks where a next link leads: to a host of the same cloud, with the
// same scheme, to the same collection.
func (c *core) nextLink(first *url.URL, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return nil, errors.New("the next link is not an address")
	}
	u.Host = strings.ToLower(u.Host)
	if u.Scheme != first.Scheme || (u.Host != first.Host && !slices.Contains(c.endpoints.hosts, u.Host)) {
		return nil, errors.New("the next link leads to another host")
	}
	if collection(u.EscapedPath()) != collection(first.EscapedPath()) {
		return nil, errors.New("the next link leads to another collection")
	}
	return u, nil
}

// collection is a path without what only pins the API version.
func collection(path string) string {
	return strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(path, "/api"), "/v1.0"))
}
