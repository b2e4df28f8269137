"""The template of the page of `noiseloom gates`: nothing in it is fetched from elsewhere."""

from __future__ import annotations

from typing import Final

PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Scores of {{ sink }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #191919; max-width: 1180px;
  margin: 2em auto; padding: 0 1.5em }
h1 { font-size: 1.5em } h2 { margin-top: 2.2em; border-top: 1px solid #ddd; padding-top: .8em }
table { border-collapse: collapse }
td, th { padding: .15em .7em; text-align: right; font-weight: 400 }
th { color: #777 } td:first-child, th:first-child { text-align: left; padding-left: 0 }
.note { color: #777 } .strip { display: flex; flex-wrap: wrap; gap: 14px } figure { margin: 0 }
figcaption { font-size: 13px } figcaption b { font-weight: 600 }
.dot { display: inline-block; width: .8em; height: .8em; margin: 0 .35em 0 .9em }
.share { background: #e8eef5; width: 180px; padding: 0 }
.share div { background: #3b78b5; height: .8em } svg rect { fill: #3b78b5 }
input[type=range] { width: 460px }
</style></head><body>
<h1>Scores of {{ sink }}</h1>
<p>{{ runs | join(", ") }}: {{ total }} copies, {{ kept }} kept.</p>
{% if reasons %}
<table><tr><th>not kept</th><th>reason</th><th>gate</th><th>copies</th></tr>
{% for (status, reason, gate), n in reasons %}
<tr><td>{{ status }}</td><td>{{ reason }}</td><td>{{ gate }}</td><td>{{ n }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% if unstored > 0 %}
<p class="note">{{ unstored }} rejected copies were not stored, and have no picture here; with
<code>output: {rejected: store}</code> in the recipe they are.</p>
{% endif %}
{% if legend %}
<p>
{% for name, colour in legend.items() %}
<span class="dot" style="background: {{ colour }}"></span>{{ name }}
{% endfor %}
</p>
{% endif %}
{% for section in sections %}
<h2>{{ section.name }}</h2>
<p class="note">{{ section.lines[0].count }} of {{ section.of }} copies have it; the others are
kept, whatever its threshold.</p>
<table><tr><th></th><th>copies</th>
{% for column in columns %}<th>{{ column }}</th>{% endfor %}<th></th></tr>
{% for line in section.lines %}
<tr><td>{{ line.name }}</td><td>{{ line.count }}</td>
{% for q in line.quantiles %}<td>{{ "%.4g" % q }}</td>{% endfor %}
<td><svg width="{{ 4 * line.bars | length }}" height="22">
{% for n in line.bars %}{% if n %}{% set h = 1 + 21 * n / (line.bars | max) %}
<rect x="{{ 4 * loop.index0 }}" y="{{ 22 - h }}" width="3" height="{{ h }}"/>{% endif %}{% endfor %}
</svg></td></tr>
{% endfor %}
</table>
<h3>What a threshold keeps</h3>
<div class="slider" data-at="{{ section.slider | tojson | forceescape }}">
<p>keep what is
<select><option value="least">at least</option><option value="most">at most</option></select>
<b></b><br><input type="range" min="0" value="0"></p><table></table></div>
{% for what, shown in section.strips.items() %}{% if shown %}
<h3>{{ what }}: source and copy, from the lowest to the highest</h3>
<div class="strip">
{% for one in shown %}
<figure><img src="{{ one.url }}" alt=""><figcaption><b>{{ "%.4g" % one.score }}</b>
{{ one.key }}, copy {{ one.copy }}{% if one.reason %}, {{ one.reason }}{% endif %}
</figcaption></figure>
{% endfor %}
</div>
{% endif %}{% endfor %}
{% endfor %}
<script>
for (const box of document.querySelectorAll(".slider")) {
  const at = JSON.parse(box.dataset.at), table = box.querySelector("table");
  const range = box.querySelector("input"), way = box.querySelector("select");
  range.max = at.values.length - 1;
  const rows = at.groups.map(group => {
    const row = table.insertRow(), cells = [0, 1, 2, 3].map(() => row.insertCell());
    cells[0].textContent = group.name; cells[3].className = "share";
    cells[3].append(document.createElement("div"));
    return cells;
  });
  const show = () => {
    box.querySelector("b").textContent = at.values[range.value];
    at.groups.forEach((group, i) => {
      const kept = group[way.value][range.value], share = 100 * kept / group.n;
      rows[i][1].textContent = kept + " of " + group.n;
      rows[i][2].textContent = share.toFixed(1) + " %";
      rows[i][3].firstChild.style.width = share + "%";
    });
  };
  range.oninput = way.onchange = show; show();
}
</script></body></html>
"""
