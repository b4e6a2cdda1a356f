// Draws every curve of the page: points at the ends of windows, the healthy band behind them, a line where a finding began.
(function () {
  "use strict";
  var drawn = [];

  function wide() {
    return Math.max(280, Math.min(880, document.body.clientWidth - 32));
  }

  function bounds(curve) {
    var all = curve.values.concat([curve.low, curve.high].filter(function (v) { return v !== null; }));
    return [Math.min.apply(null, all), Math.max.apply(null, all)];
  }

  function behind(curve) {
    return function (u) {
      if (curve.low === null && curve.high === null) { return; }
      var box = u.bbox;
      var end = function (value, otherwise) {
        if (value === null) { return otherwise; }
        var y = u.valToPos(value, "y", true);
        return isFinite(y) ? Math.min(Math.max(y, box.top), box.top + box.height) : otherwise;
      };
      var top = end(curve.high, box.top), bottom = end(curve.low, box.top + box.height);
      u.ctx.save();
      u.ctx.fillStyle = "rgba(46, 160, 67, 0.13)";
      u.ctx.fillRect(box.left, top, box.width, Math.max(bottom - top, 1));
      u.ctx.restore();
    };
  }

  function before(curve) {
    return function (u) {
      if (curve.first === null) { return; }
      var x = Math.round(u.valToPos(curve.first, "x", true));
      u.ctx.save();
      u.ctx.strokeStyle = "#b00020";
      u.ctx.lineWidth = window.devicePixelRatio || 1;
      u.ctx.setLineDash([6, 4]);
      u.ctx.beginPath();
      u.ctx.moveTo(x, u.bbox.top);
      u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
      u.ctx.stroke();
      u.ctx.restore();
    };
  }

  function power(v) {
    var n = Math.log10(v);
    return Math.abs(n - Math.round(n)) < 1e-6 ? v : null;
  }

  function draw(place, curve) {
    var ends = bounds(curve), steps = curve.steps;
    var last = steps[steps.length - 1], first = steps[0];
    var log = ends[0] > 0 && ends[1] / ends[0] > 50;
    var room = (ends[1] - ends[0] || Math.abs(ends[0]) || 1) * 0.07;
    var whole = function (v, round) { return Math.pow(10, round(Math.log10(v))); };
    var range = log ? [whole(ends[0], Math.floor), whole(ends[1], Math.ceil)] : [ends[0] - room, ends[1] + room];
    var number = function (u, v) { return v === null || v === undefined ? "" : String(Number(v.toPrecision(4))); };
    var options = {
      width: wide(), height: 200, cursor: { y: false },
      scales: { x: { time: false, range: first === last ? [first - 1, last + 1] : [first, last] },
                y: { distr: log ? 3 : 1, range: range } },
      axes: [{ grid: { show: false } },
             { size: 64, values: function (u, ticks) { return ticks.map(function (v) { return number(u, v); }); },
               grid: { filter: function (u, ticks) { return log ? ticks.map(power) : ticks; } } }],
      series: [{ label: "step" },
               { label: curve.name, stroke: "#1f5fbf", width: 1.5, value: number, points: { show: steps.length < 60, size: 5 } }],
      hooks: { drawClear: [behind(curve)], draw: [before(curve)] }
    };
    drawn.push(new uPlot(options, [steps, curve.values], place));
  }

  var curves = JSON.parse(document.getElementById("curves").textContent);
  document.querySelectorAll("[data-curve]").forEach(function (place) {
    draw(place, curves[Number(place.getAttribute("data-curve"))]);
  });
  window.addEventListener("resize", function () {
    drawn.forEach(function (u) { u.setSize({ width: wide(), height: 200 }); });
  });
})();
