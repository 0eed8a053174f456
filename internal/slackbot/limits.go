package slackbot

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

// errLimit reports blocks that Slack would refuse.
var errLimit = errors.New("outside Slack's limits")

// validate holds d to Slack's limits on messages. slack-go enforces none.
func validate(d drawn) error {
	if n := len(d.text); n == 0 || n > maxFallback+200 {
		return fmt.Errorf("%w: text of %d bytes", errLimit, n)
	}
	all := d.blocks
	for _, a := range d.attachments {
		all = append(all[:len(all):len(all)], a.Blocks.BlockSet...)
	}
	return validateBlocks(all, 50, false)
}

func validateBlocks(blocks []slack.Block, most int, view bool) error {
	if len(blocks) > most {
		return fmt.Errorf("%w: %d blocks", errLimit, len(blocks))
	}
	c := &limitCheck{view: view, ids: map[string]bool{}}
	for _, b := range blocks {
		c.block(b)
	}
	if c.tables > 1 || c.cells > 10_000 {
		c.fail("tables", c.cells)
	}
	if !view && c.text > 13_000 {
		c.fail("text of all blocks", c.text)
	}
	return c.err
}

// limitCheck walks blocks and keeps the first fault.
type limitCheck struct {
	view   bool
	err    error
	text   int
	cells  int
	tables int
	ids    map[string]bool
}

func (c *limitCheck) fail(what string, n int) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s: %d", errLimit, what, n)
	}
}

// length checks the characters of s.
func (c *limitCheck) length(what, s string, least, most int) int {
	n := utf8.RuneCountInString(s)
	if n < least || n > most || !utf8.ValidString(s) {
		c.fail(what, n)
	}
	return n
}

func (c *limitCheck) count(what string, n, most int) {
	if n < 1 || n > most {
		c.fail(what, n)
	}
}

func (c *limitCheck) object(what string, t *slack.TextBlockObject, most int) {
	if t == nil {
		c.fail(what, 0)
		return
	}
	c.text += c.length(what, t.Text, 1, most)
}

func (c *limitCheck) block(b slack.Block) {
	c.length("block ID", b.ID(), 0, 255)
	if b.ID() != "" && c.ids[b.ID()] {
		c.fail("repeated block ID", 2)
	}
	c.ids[b.ID()] = true
	switch b := b.(type) {
	case *slack.HeaderBlock:
		c.object("header", b.Text, 150)
	case *slack.DividerBlock:
	case *slack.RichTextBlock:
		c.richText(b)
	case *slack.ContextBlock:
		c.count("context elements", len(b.ContextElements.Elements), 10)
		for _, e := range b.ContextElements.Elements {
			if t, ok := e.(*slack.TextBlockObject); ok {
				c.object("context text", t, 3_000)
			}
		}
	case *slack.ActionBlock:
		c.count("actions", len(b.Elements.ElementSet), 25)
		seen := map[string]bool{}
		for _, e := range b.Elements.ElementSet {
			c.element(e, seen)
		}
	case *slack.TableBlock:
		c.table(b)
	case *slack.ContainerBlock:
		c.object("container title", b.Title, 150)
		c.count("blocks in a container", len(b.ChildBlocks.BlockSet), 10)
		for _, child := range b.ChildBlocks.BlockSet {
			c.block(child)
		}
	case *slack.InputBlock:
		if !c.view {
			c.fail("input in a message", 1)
		}
		c.count("input block ID", len(b.BlockID), 255)
		c.object("label", b.Label, 2_000)
		if b.Hint != nil {
			c.object("hint", b.Hint, 2_000)
		}
		c.element(b.Element, map[string]bool{})
	default:
		c.fail("unknown block "+string(b.BlockType()), 1)
	}
}

func (c *limitCheck) richText(b *slack.RichTextBlock) {
	c.count("rich text elements", len(b.Elements), 1_000)
	for _, e := range b.Elements {
		var elements []slack.RichTextSectionElement
		switch e := e.(type) {
		case *slack.RichTextSection:
			elements = e.Elements
		case *slack.RichTextPreformatted:
			elements = e.Elements
		default:
			c.fail("unknown rich text", 1)
			continue
		}
		for _, inline := range elements {
			switch inline := inline.(type) {
			case *slack.RichTextSectionTextElement:
				c.text += c.length("rich text", inline.Text, 1, 3_000)
			case *slack.RichTextSectionLinkElement:
				c.length("link", inline.URL, 8, 3_000)
				c.text += c.length("link text", inline.Text, 1, 3_000)
			}
		}
	}
}

func (c *limitCheck) table(b *slack.TableBlock) {
	c.tables++
	c.count("table rows", len(b.Rows), 100)
	for _, row := range b.Rows {
		c.count("table columns", len(row), 20)
		for _, cell := range row {
			if raw, ok := cell.(*slack.TableRawTextCell); ok {
				c.cells += c.length("cell", raw.Text, 1, 3_000)
			} else {
				c.fail("unknown cell", 1)
			}
		}
	}
}

func (c *limitCheck) element(e slack.BlockElement, seen map[string]bool) {
	id := ""
	switch e := e.(type) {
	case *slack.ButtonBlockElement:
		id = e.ActionID
		c.object("button", e.Text, 75)
		c.length("button value", e.Value, 0, 2_000)
		c.length("button address", e.URL, 0, 3_000)
		if confirm := e.Confirm; confirm != nil {
			c.object("confirm title", confirm.Title, 100)
			c.object("confirm text", confirm.Text, 300)
			c.object("confirm yes", confirm.Confirm, 30)
			c.object("confirm no", confirm.Deny, 30)
		}
	case *slack.SelectBlockElement:
		id = e.ActionID
		c.options(e)
	case *slack.PlainTextInputBlockElement:
		id = e.ActionID
		c.count("longest input", e.MaxLength, 3_000)
		c.length("initial value", e.InitialValue, 0, e.MaxLength)
		if e.Placeholder != nil {
			c.object("placeholder", e.Placeholder, 150)
		}
	default:
		c.fail("unknown element", 1)
	}
	c.length("action ID", id, 1, 255)
	if seen[id] {
		c.fail("repeated action ID", 2)
	}
	seen[id] = true
}

func (c *limitCheck) options(e *slack.SelectBlockElement) {
	if e.Placeholder != nil {
		c.object("placeholder", e.Placeholder, 150)
	}
	if e.Type == slack.OptTypeStatic {
		c.count("options", len(e.Options), 100)
	}
	for _, o := range e.Options {
		c.object("option", o.Text, 75)
		c.length("option value", o.Value, 1, 150)
		if o.Description != nil {
			c.object("option description", o.Description, 75)
		}
	}
}
