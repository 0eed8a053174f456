package slacksim

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxMessageText is the undocumented limit on the text of all blocks together.
const maxMessageText = 13_000

// checkMessage holds a message's blocks to Slack's limits and returns a refusal
// that points at each fault, or nil. unknown are types that the workspace does not
// know.
func checkMessage(blocks, attachments json.RawMessage, unknown []string) map[string]any {
	c := &checker{message: true, unknown: unknown}
	c.list("/blocks", blocks, 50)
	var list []map[string]json.RawMessage
	if attachments != nil {
		if json.Unmarshal(attachments, &list) != nil {
			return fail("invalid_attachments")
		}
	}
	if len(list) > 100 {
		return fail("too_many_attachments")
	}
	for i, a := range list {
		if string(a["blocks"]) != "null" {
			c.list(fmt.Sprintf("/attachments/%d/blocks", i), a["blocks"], 50)
		}
	}
	if c.tables > 1 {
		c.fault("/blocks", "only_one_table_allowed")
	}
	if c.tableText > 10_000 {
		c.fault("/blocks", "tables hold more than 10000 characters")
	}
	if len(c.faults) == 0 && c.text > maxMessageText {
		return fail("msg_blocks_too_long")
	}
	return c.refusal()
}

// checkModal holds a view to Slack's limits.
func checkModal(view json.RawMessage) map[string]any {
	var v map[string]json.RawMessage
	if json.Unmarshal(view, &v) != nil {
		return fail("invalid_arguments")
	}
	if len(view) > 250_000 {
		return fail("view_too_large")
	}
	c := &checker{}
	var fields map[string]any
	_ = json.Unmarshal(view, &fields) // the same bytes as above
	if fields["type"] != "modal" {
		c.fault("/view/type", "must be modal")
	}
	c.plain("/view/title", fields["title"], 24)
	for _, button := range []string{"submit", "close"} {
		if fields[button] != nil {
			c.plain("/view/"+button, fields[button], 24)
		}
	}
	c.length("/view/private_metadata", fields["private_metadata"], 0, 3_000)
	c.length("/view/callback_id", fields["callback_id"], 0, 255)
	c.list("/view/blocks", v["blocks"], 100)
	if c.inputs > 0 && fields["submit"] == nil {
		c.fault("/view/submit", "is required when there are inputs")
	}
	return c.refusal()
}

// checkHome holds the view of a Home tab to Slack's limits.
func checkHome(view json.RawMessage) map[string]any {
	var v map[string]json.RawMessage
	if json.Unmarshal(view, &v) != nil {
		return fail("invalid_arguments")
	}
	if len(view) > 250_000 {
		return fail("view_too_large")
	}
	c := &checker{unknown: []string{"table", "container"}} // those are for messages
	var fields map[string]any
	_ = json.Unmarshal(view, &fields) // the same bytes as above
	if fields["type"] != "home" {
		c.fault("/view/type", "must be home")
	}
	for _, field := range []string{"title", "submit", "close"} {
		if fields[field] != nil {
			c.fault("/view/"+field, "is for modals")
		}
	}
	if v["blocks"] == nil {
		c.fault("/view/blocks", "is required")
	}
	c.length("/view/private_metadata", fields["private_metadata"], 0, 3_000)
	c.list("/view/blocks", v["blocks"], 100)
	return c.refusal()
}

// checker collects the faults of blocks.
type checker struct {
	message   bool
	unknown   []string
	faults    []string
	text      int // characters in all blocks
	tableText int
	tables    int
	inputs    int
	blockIDs  map[string]bool
}

func (c *checker) fault(pointer, what string) {
	c.faults = append(c.faults, fmt.Sprintf("[ERROR] %s [json-pointer:%s]", what, pointer))
}

func (c *checker) refusal() map[string]any {
	if len(c.faults) == 0 {
		return nil
	}
	refused := fail("invalid_blocks")
	refused["response_metadata"] = map[string]any{"messages": c.faults}
	return refused
}

func (c *checker) list(pointer string, raw json.RawMessage, maxBlocks int) {
	if raw == nil {
		return
	}
	var blocks []any
	if json.Unmarshal(raw, &blocks) != nil {
		c.fault(pointer, "must be a list of blocks")
		return
	}
	if len(blocks) > maxBlocks {
		c.fault(pointer, fmt.Sprintf("no more than %d items allowed", maxBlocks))
	}
	if c.blockIDs == nil {
		c.blockIDs = map[string]bool{}
	}
	for i, b := range blocks {
		block, ok := b.(map[string]any)
		if !ok {
			c.fault(fmt.Sprintf("%s/%d", pointer, i), "must be a block")
			continue
		}
		c.block(fmt.Sprintf("%s/%d", pointer, i), block)
	}
}

func (c *checker) block(p string, b map[string]any) {
	c.length(p+"/block_id", b["block_id"], 0, 255)
	if id, _ := b["block_id"].(string); id != "" {
		if c.blockIDs[id] {
			c.fault(p+"/block_id", "is used twice")
		}
		c.blockIDs[id] = true
	}
	if kind, _ := b["type"].(string); slices.Contains(c.unknown, kind) {
		c.fault(p+"/type", "unsupported type: "+kind)
		return
	}
	switch b["type"] {
	case "divider":
	case "header":
		c.plain(p+"/text", b["text"], 150)
	case "section":
		c.section(p, b)
	case "context":
		elements := c.elements(p, b, 10)
		for i, e := range elements {
			c.textObject(fmt.Sprintf("%s/elements/%d", p, i), e, 3_000)
		}
	case "actions":
		ids := map[any]bool{}
		for i, e := range c.elements(p, b, 25) {
			pointer := fmt.Sprintf("%s/elements/%d", p, i)
			element, _ := e.(map[string]any)
			if ids[element["action_id"]] {
				c.fault(pointer+"/action_id", "is used twice in the block")
			}
			ids[element["action_id"]] = true
			c.interactive(pointer, element)
		}
	case "image":
		c.length(p+"/image_url", b["image_url"], 1, 3_000)
		c.length(p+"/alt_text", b["alt_text"], 1, 2_000)
	case "rich_text":
		c.richText(p, b)
	case "table":
		c.table(p, b)
	case "input":
		c.input(p, b)
	case "container":
		c.container(p, b)
	default:
		c.fault(p+"/type", fmt.Sprintf("unsupported type: %v", b["type"]))
	}
}

// container checks a block that holds others and may be collapsed.
func (c *checker) container(p string, b map[string]any) {
	c.plain(p+"/title", b["title"], 150)
	if b["default_collapsed"] == true && b["is_collapsible"] != true {
		c.fault(p+"/default_collapsed", "requires is_collapsible")
	}
	children, _ := b["child_blocks"].([]any)
	if len(children) < 1 || len(children) > 10 {
		c.fault(p+"/child_blocks", "must have 1 to 10 items")
	}
	for i, child := range children {
		block, _ := child.(map[string]any)
		c.block(fmt.Sprintf("%s/child_blocks/%d", p, i), block)
	}
}

func (c *checker) section(p string, b map[string]any) {
	fields, _ := b["fields"].([]any)
	if b["text"] == nil && len(fields) == 0 {
		c.fault(p, "needs text or fields")
	}
	if b["text"] != nil {
		c.textObject(p+"/text", b["text"], 3_000)
	}
	if len(fields) > 10 {
		c.fault(p+"/fields", "no more than 10 items allowed")
	}
	for i, f := range fields {
		c.textObject(fmt.Sprintf("%s/fields/%d", p, i), f, 2_000)
	}
	if accessory, ok := b["accessory"].(map[string]any); ok {
		c.interactive(p+"/accessory", accessory)
	}
}

func (c *checker) elements(p string, b map[string]any, most int) []any {
	elements, _ := b["elements"].([]any)
	if len(elements) == 0 {
		c.fault(p+"/elements", "must have at least 1 item")
	}
	if len(elements) > most {
		c.fault(p+"/elements", fmt.Sprintf("no more than %d items allowed", most))
	}
	return elements
}

func (c *checker) interactive(p string, e map[string]any) {
	c.length(p+"/action_id", e["action_id"], 0, 255)
	if confirm, ok := e["confirm"].(map[string]any); ok {
		c.plain(p+"/confirm/title", confirm["title"], 100)
		c.textObject(p+"/confirm/text", confirm["text"], 300)
		c.plain(p+"/confirm/confirm", confirm["confirm"], 30)
		c.plain(p+"/confirm/deny", confirm["deny"], 30)
	}
	switch e["type"] {
	case "button":
		c.plain(p+"/text", e["text"], 75)
		c.length(p+"/value", e["value"], 0, 2_000)
		if url, ok := e["url"].(string); ok && (!strings.HasPrefix(url, "http") || utf8.RuneCountInString(url) > 3_000) {
			c.fault(p+"/url", "must be a web address of at most 3000 characters")
		}
		if style, ok := e["style"]; ok && style != "primary" && style != "danger" {
			c.fault(p+"/style", "must be primary or danger")
		}
	case "static_select":
		c.placeholder(p, e)
		c.options(p, e)
	case "external_select":
		c.placeholder(p, e)
	case "plain_text_input":
		c.placeholder(p, e)
		if most, ok := e["max_length"].(float64); ok && (most < 1 || most > 3_000) {
			c.fault(p+"/max_length", "must be between 1 and 3000")
		}
		c.length(p+"/initial_value", e["initial_value"], 0, 3_000)
	default:
		c.fault(p+"/type", fmt.Sprintf("unsupported type: %v", e["type"]))
	}
}

func (c *checker) placeholder(p string, e map[string]any) {
	if e["placeholder"] != nil {
		c.plain(p+"/placeholder", e["placeholder"], 150)
	}
}

func (c *checker) options(p string, e map[string]any) {
	options, _ := e["options"].([]any)
	if len(options) == 0 || len(options) > 100 {
		c.fault(p+"/options", "must have 1 to 100 items")
	}
	for i, o := range options {
		c.option(fmt.Sprintf("%s/options/%d", p, i), o)
	}
	if initial := e["initial_option"]; initial != nil {
		c.option(p+"/initial_option", initial)
		found := false
		for _, o := range options {
			found = found || fmt.Sprint(o) == fmt.Sprint(initial)
		}
		if !found {
			c.fault(p+"/initial_option", "is none of the options")
		}
	}
}

func (c *checker) option(p string, o any) {
	option, _ := o.(map[string]any)
	c.plain(p+"/text", option["text"], 75)
	if option["description"] != nil {
		c.plain(p+"/description", option["description"], 75)
	}
	c.length(p+"/value", option["value"], 1, 150)
}

func (c *checker) input(p string, b map[string]any) {
	c.inputs++
	if c.message {
		c.fault(p+"/type", "input blocks are for views")
	}
	c.plain(p+"/label", b["label"], 2_000)
	if b["hint"] != nil {
		c.plain(p+"/hint", b["hint"], 2_000)
	}
	element, _ := b["element"].(map[string]any)
	c.interactive(p+"/element", element)
}

func (c *checker) table(p string, b map[string]any) {
	c.tables++
	if !c.message {
		c.fault(p+"/type", "tables are for messages")
	}
	rows, _ := b["rows"].([]any)
	if len(rows) == 0 || len(rows) > 100 {
		c.fault(p+"/rows", "must have 1 to 100 items")
	}
	for i, r := range rows {
		cells, _ := r.([]any)
		if len(cells) == 0 || len(cells) > 20 {
			c.fault(fmt.Sprintf("%s/rows/%d", p, i), "must have 1 to 20 cells")
		}
		for j, cell := range cells {
			pointer := fmt.Sprintf("%s/rows/%d/%d", p, i, j)
			m, _ := cell.(map[string]any)
			if m["type"] != "raw_text" {
				c.fault(pointer+"/type", fmt.Sprintf("unsupported type: %v", m["type"]))
				continue
			}
			c.tableText += c.length(pointer+"/text", m["text"], 1, 10_000)
		}
	}
	if settings, _ := b["column_settings"].([]any); len(settings) > 20 {
		c.fault(p+"/column_settings", "no more than 20 items allowed")
	}
}

var (
	userID  = regexp.MustCompile(`^[UW][A-Z0-9]+$`)
	groupID = regexp.MustCompile(`^S[A-Z0-9]+$`)
)

func (c *checker) richText(p string, b map[string]any) {
	elements := c.elements(p, b, 1_000)
	for i, e := range elements {
		c.richElement(fmt.Sprintf("%s/elements/%d", p, i), e)
	}
}

func (c *checker) richElement(p string, e any) {
	element, _ := e.(map[string]any)
	children, _ := element["elements"].([]any)
	switch element["type"] {
	case "rich_text_section", "rich_text_preformatted", "rich_text_quote":
		for i, child := range children {
			c.richInline(fmt.Sprintf("%s/elements/%d", p, i), child)
		}
	case "rich_text_list":
		for i, child := range children {
			c.richElement(fmt.Sprintf("%s/elements/%d", p, i), child)
		}
	default:
		c.fault(p+"/type", fmt.Sprintf("unsupported type: %v", element["type"]))
	}
}

func (c *checker) richInline(p string, e any) {
	element, _ := e.(map[string]any)
	switch element["type"] {
	case "text":
		c.text += c.length(p+"/text", element["text"], 1, maxMessageText)
	case "link":
		if url, _ := element["url"].(string); !strings.HasPrefix(url, "http") {
			c.fault(p+"/url", "must be a web address")
		}
		c.text += c.length(p+"/text", element["text"], 0, 3_000)
	case "user":
		if id, _ := element["user_id"].(string); !userID.MatchString(id) {
			c.fault(p+"/user_id", "invalid user")
		}
	case "usergroup":
		if id, _ := element["usergroup_id"].(string); !groupID.MatchString(id) {
			c.fault(p+"/usergroup_id", "invalid user group")
		}
	case "date":
		c.length(p+"/format", element["format"], 1, 255)
	default:
		c.fault(p+"/type", fmt.Sprintf("unsupported type: %v", element["type"]))
	}
}

// plain checks a plain_text object.
func (c *checker) plain(p string, v any, most int) {
	m, _ := v.(map[string]any)
	if m["type"] != "plain_text" {
		c.fault(p+"/type", "must be plain_text")
		return
	}
	c.text += c.length(p+"/text", m["text"], 1, most)
}

func (c *checker) textObject(p string, v any, most int) {
	m, _ := v.(map[string]any)
	if m["type"] != "plain_text" && m["type"] != "mrkdwn" {
		c.fault(p+"/type", fmt.Sprintf("unsupported type: %v", m["type"]))
		return
	}
	c.text += c.length(p+"/text", m["text"], 1, most)
}

// length checks a string's characters and returns their number.
func (c *checker) length(p string, v any, least, most int) int {
	text, isText := v.(string)
	if v != nil && !isText {
		c.fault(p, "must be a string")
	}
	n := utf8.RuneCountInString(text)
	if n < least {
		c.fault(p, fmt.Sprintf("must be more than %d characters", least-1))
	}
	if n > most {
		c.fault(p, fmt.Sprintf("must be less than %d characters", most+1))
	}
	return n
}

// allBlocks lists the blocks of a message, those in attachments last. A block
// without an ID gets the one that Slack would make up.
func allBlocks(blocks, attachments json.RawMessage) []map[string]any {
	var out []map[string]any
	if blocks != nil {
		_ = json.Unmarshal(blocks, &out) // checked when posted
	}
	var list []struct {
		Blocks []map[string]any `json:"blocks"`
	}
	if attachments != nil {
		_ = json.Unmarshal(attachments, &list) // checked when posted
	}
	for _, a := range list {
		out = append(out, a.Blocks...)
	}
	for i, b := range out {
		if id, _ := b["block_id"].(string); id == "" {
			b["block_id"] = fmt.Sprintf("auto%d", i)
		}
	}
	return out
}
