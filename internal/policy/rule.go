package policy

// Applied is the rule that decides a request: the strictest of the rules of its
// targets, with limits already added. It is stored with the request and readable
// without the mdebot.yaml of the day.
type Applied struct {
	Name string `json:"name"`
	// Text is the rule as written, for the record.
	Text string `json:"text"`
	// Approvers is the number of people needed besides the requester, at least 1.
	Approvers int `json:"approvers"`
	// From names groups; an approver belongs to at least one, and with several
	// every group must be represented. Empty means holders of the role approver.
	From []string `json:"from,omitempty"`
	// OverLimit says which limit added an approver, or is empty.
	OverLimit string `json:"over_limit,omitempty"`
	// TierZero marks requests that count against the tier 0 limit.
	TierZero bool `json:"tier_zero,omitempty"`
}
