package commands

import (
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/policy"
)

// kqlOperators are the operators that a hunt may use: those that work on what the
// query has named. The others run subqueries of their own, plugins, or read from
// elsewhere.
var kqlOperators = setOf(`as count distinct extend filter getschema invoke join limit lookup make-series mv-expand mvexpand order parse
	parse-kv parse-where project project-away project-keep project-rename project-reorder reduce render sample sample-distinct serialize
	sort summarize take top top-nested union where`)

// kqlFunctions are Kusto's functions. One that is not here may be saved in the
// tenant and read any table. Names are compared exactly, as Kusto does.
var kqlFunctions = setOf(`abs acos ago any arg_max arg_min array_concat array_iff array_index_of array_length array_reverse array_rotate_left
	array_rotate_right array_shift_left array_shift_right array_slice array_sort_asc array_sort_desc array_split array_sum asin assert atan
	atan2 avg avgif bag_has_key bag_keys bag_merge bag_pack bag_remove_keys bag_set_key base64_decode_toarray base64_decode_tostring
	base64_encode_fromarray base64_encode_tostring beta_cdf bin bin_at binary_all_and binary_all_or binary_all_xor binary_and binary_not
	binary_or binary_shift_left binary_shift_right binary_xor bitset_count_ones bool buildschema case ceiling coalesce column_ifexists
	columnifexists cos cot count count_distinct count_distinctif countif countof covariance current_principal datatable date datetime
	datetime_add datetime_diff datetime_part datetime_utc_to_local dayofmonth dayofweek dayofyear dcount dcount_hll dcountif decimal degrees
	double dynamic endofday endofmonth endofweek endofyear estimate_data_size exp exp10 exp2 extract extract_all extractjson extract_json
	floor format_bytes format_datetime format_ipv4 format_ipv4_mask format_timespan gamma geo_distance_2points geo_info_from_ip_address
	getmonth gettype getyear gzip_compress_to_base64_string gzip_decompress_from_base64_string hash hash_combine hash_many hash_md5
	hash_sha1 hash_sha256 hash_xxhash64 hll hll_merge hourofday iff iif indexof indexof_regex ingestion_time int ipv4_compare
	ipv4_is_in_any_range ipv4_is_in_range ipv4_is_match ipv4_is_private ipv4_netmask_suffix ipv4_range_to_cidr_list ipv6_compare
	ipv6_is_in_any_range ipv6_is_in_range ipv6_is_match is_utf8 isascii isempty isfinite isinf isnan isnotempty isnotnull isnull isutf8 jaccard_index log
	log10 log2 long make_bag make_bag_if make_datetime make_list make_list_if make_list_with_nulls make_set make_set_if make_string
	make_timespan makelist makeset materialize max max_of maxif merge_tdigest min min_of minif monthofyear new_guid next not now pack
	pack_all pack_array pack_dictionary parse_command_line parse_csv parse_ipv4 parse_ipv4_mask parse_ipv6 parse_ipv6_mask parse_json
	parse_path parse_url parse_urlquery parse_user_agent parse_version parse_xml percentile percentiles percentile_tdigest pi pow prev
	prev_row punycode_from_string radians rand range rank_tdigest real regex_quote repeat replace replace_regex replace_string
	replace_strings reverse round row_cumsum row_number row_rank_dense row_window_session series_fit_line series_outliers set_difference
	set_has_element set_intersect set_union sha1 sign sin split sqrt startofday startofmonth startofweek startofyear stdev stdevif strcat
	strcat_array strcat_delim strcmp string string_size strlen strrep substring sum sumif take_any take_anyif tan tdigest time timespan
	tobool todatetime todecimal todouble todynamic toguid tohex toint tolong tolower toobject toreal toscalar tostring totimespan toupper
	translate treepath trim trim_end trim_start unicode_codepoints_from_string unixtime_microseconds_todatetime
	unixtime_milliseconds_todatetime unixtime_nanoseconds_todatetime unixtime_seconds_todatetime url_decode url_encode variance varianceif
	week_of_year weekofyear welch_test zip zlib_compress_to_base64_string guid typeof
	FileProfile DeviceFromIP SeenBy AssignedIPAddresses`)

// kqlBefore are words that stand before a bracket without being a function.
var kqlBefore = setOf(`in has_any has_all between by on and or not with where extend project summarize join union lookup parse of kind
	step from to default asc desc nulls first last distinct take limit top sort order filter mvexpand as print let with`)

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// kqlLevel is what is known inside one pair of brackets, or of the statement.
type kqlLevel struct {
	// source: what comes next may name a table.
	source bool
	// checked: the expression began where a table was looked for, so that an
	// operator may follow.
	checked bool
	// operands: commas separate tables.
	operands bool
	// list: names of values or a subquery, after in.
	list bool
}

// kqlReader resolves the tables of a query.
type kqlReader struct {
	words  []kqlWord
	levels []kqlLevel
	bound  map[string]bool // by a let that has ended
	params map[string]bool // of the function that is being defined
	naming string          // what the let that is being read will bind
	tables []string
}

// tablesOf lists the tables that a query reads, each once. It refuses what it
// does not understand: a list that misses a table would be worse than none
// (threat-model H-02, H-03).
func tablesOf(words []kqlWord) ([]string, error) {
	r := &kqlReader{words: words, levels: []kqlLevel{{source: true}}, bound: map[string]bool{}, params: map[string]bool{}}
	for i := 0; i < len(words); {
		next, err := r.step(i)
		if err != nil {
			return nil, err
		}
		i = next
	}
	if len(r.levels) != 1 {
		return nil, say("A bracket of the query is not closed.", "Close it and send the query again.")
	}
	return r.tables, nil
}

func (r *kqlReader) text(i int) string {
	if i < 0 || i >= len(r.words) {
		return ""
	}
	return r.words[i].text
}

func (r *kqlReader) level() *kqlLevel { return &r.levels[len(r.levels)-1] }

// step reads the word at i and returns the place of the next one.
func (r *kqlReader) step(i int) (int, error) {
	l := r.level()
	switch w := r.text(i); w {
	case ";":
		if len(r.levels) == 1 {
			if r.naming == "" && i+1 < len(r.words) {
				return 0, say("The query has several statements.", "Ask them one by one; let is fine.")
			}
			// From here on, and not in its own value, where the name means a table.
			r.bound[r.naming], r.naming = true, ""
			clear(r.params)
		}
		*l = kqlLevel{source: true}
		return i + 1, nil
	case "(", "{":
		inner := kqlLevel{source: l.source || w == "{"}
		before := r.text(i - 1)
		switch {
		case before == "~" || before == "in" || before == "has_any" || before == "has_all":
			inner = kqlLevel{list: true, source: true}
		case before == "materialize" || before == "toscalar" || before == "view":
			inner.source = true
		case l.source:
			l.source, l.checked = false, true
		}
		if w == "{" {
			inner.source = true
		}
		r.levels = append(r.levels, inner)
		return i + 1, nil
	case "[":
		if l.source && r.text(i+1) == stringWord && r.text(i+2) == "]" {
			return i + 3, r.name(r.words[i+1].quoted(), r.text(i+3))
		}
		r.levels = append(r.levels, kqlLevel{})
		return i + 1, r.quotedTable(i)
	case ")", "}", "]":
		if len(r.levels) == 1 {
			return 0, say("A bracket of the query closes nothing.", "Take it out and send the query again.")
		}
		r.levels = r.levels[:len(r.levels)-1]
		return i + 1, nil
	case ",":
		l.source = l.operands || l.list
		return i + 1, nil
	case "|":
		if !l.checked {
			return 0, say("The query has an operator where no table was named before.", "Begin each part with the table it reads.")
		}
		return r.operator(i + 1)
	default:
		if w == "*" && l.source {
			return 0, say("Queries over all tables are not run from chat.", "Name the tables you want to read.")
		}
		if !isWordByte(w[0]) {
			return i + 1, nil
		}
		return r.word(i)
	}
}

// operator reads the operator that begins at i.
func (r *kqlReader) operator(i int) (int, error) {
	name, next := r.text(i), i+1
	for r.text(next) == "-" && next+1 < len(r.words) && r.words[next-1].end+1 == r.words[next].end {
		name += "-" + r.text(next+1)
		next += 2
	}
	if !kqlOperators[name] {
		return 0, sayOf("The operator ", name, " is not run from chat.", "It may read more than the query names. Use the Defender portal for it.")
	}
	l := r.level()
	l.operands = name == "union"
	l.source = name == "union" || name == "join" || name == "lookup"
	if l.source {
		next = r.options(next)
	}
	return next, nil
}

// options passes over options such as kind=inner and hint.strategy=shuffle.
func (r *kqlReader) options(i int) int {
	for {
		end := i + 1
		for r.text(end) == "." {
			end += 2
		}
		if r.text(end) != "=" {
			return i
		}
		i = end + 2
	}
}

// word reads a name, number or keyword.
func (r *kqlReader) word(i int) (int, error) {
	w, next := r.text(i), r.text(i+1)
	l := r.level()
	if l.source && len(r.levels) == 1 {
		switch w {
		case "let":
			return r.let(i)
		case "set", "declare", "alias", "restrict", "pattern":
			return 0, sayOf("Statements with ", w, " are not run from chat.", "Leave it out, or run the query in the Defender portal.")
		}
	}
	if next == "(" && !kqlFunctions[w] && !r.known(w) && !kqlBefore[w] && !kqlOperators[w] {
		return 0, sayOf("The function ", w, " is not known here, so what it reads is not either.", "Write out what it does, or use the Defender portal.")
	}
	if !l.source {
		return i + 1, r.mentioned(w)
	}
	switch {
	case '0' <= w[0] && w[0] <= '9':
		l.source, l.checked = false, true
		return i + 1, nil
	case w == "union":
		l.source, l.checked, l.operands = true, true, true
		return r.options(i + 1), nil
	case w == "print" || w == "range" || w == "datatable" || next == "(":
		l.source, l.checked = false, true
		return i + 1, nil
	case w == "true" || w == "false" || w == "null":
		l.source, l.checked = false, true
		return i + 1, nil
	}
	return i + 1, r.name(w, next)
}

// name takes the table, or bound name, that is read at a source.
func (r *kqlReader) name(name, next string) error {
	l := r.level()
	l.source, l.checked = false, true
	if next == "*" {
		return say("Queries over all tables are not run from chat.", "Name the tables you want to read.")
	}
	if !r.known(name) && !slices.Contains(r.tables, name) {
		r.tables = append(r.tables, name)
	}
	return nil
}

// mentioned takes a table's name for a table wherever it stands, in whatever
// letter case: no column is called like one.
func (r *kqlReader) mentioned(w string) error {
	if table := policy.KnownTable(w); table != "" && !slices.Contains(r.tables, table) {
		r.tables = append(r.tables, table)
	}
	return nil
}

// quotedTable does the same for ["Name"].
func (r *kqlReader) quotedTable(i int) error {
	if r.text(i+1) == stringWord {
		return r.mentioned(r.words[i+1].quoted())
	}
	return nil
}

// known reports names that the query itself has given.
func (r *kqlReader) known(name string) bool { return r.bound[name] || r.params[name] }

// let reads "let name =", and the parameters of a function.
func (r *kqlReader) let(i int) (int, error) {
	name := r.text(i + 1)
	if name == "" || !isWordByte(name[0]) || r.text(i+2) != "=" {
		return 0, say("A let of the query has no name.", "Write it as let name = …; before the query.")
	}
	if policy.KnownTable(name) != "" || kqlFunctions[name] {
		return 0, sayOf("The query calls something ", name, ", which is a name of Defender's.", "Choose another name.")
	}
	r.naming = name
	i += 3
	if r.text(i) != "(" {
		return i, nil
	}
	end := i
	for depth := 0; end < len(r.words); end++ {
		if r.text(end) == "(" {
			depth++
		}
		if r.text(end) == ")" {
			if depth--; depth == 0 {
				break
			}
		}
	}
	if r.text(end+1) != "{" {
		return i, nil // a query in brackets
	}
	for ; i < end; i++ {
		if r.text(i+1) == ":" {
			if policy.KnownTable(r.text(i)) != "" {
				return 0, sayOf("The query calls something ", r.text(i), ", which is a name of Defender's.", "Choose another name.")
			}
			r.params[r.text(i)] = true
		}
	}
	return end + 1, nil
}
