"""Plots and small HTML pages, in one look (matplotlib is imported when a plot is drawn)."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from string import Template
from typing import TYPE_CHECKING, Any

from mien.core.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe-Ito: told apart by colour-blind readers, on white and on dark.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

PAGE_CSS = """
:root{color-scheme:light dark;--fg:#1b1f24;--bg:#fff;--soft:#f3f4f6;--line:#d0d7de}
@media (prefers-color-scheme:dark){:root{--fg:#e6edf3;--bg:#0d1117;--soft:#161b22;--line:#30363d}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:1000px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}img{max-width:100%;height:auto;background:#fff;border-radius:6px}
table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border-bottom:1px solid var(--line);padding:.3rem .8rem;text-align:left}
pre{background:var(--soft);padding:1rem;overflow-x:auto;border-radius:6px}.muted{opacity:.7}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:1rem}.card{background:var(--soft);padding:.7rem;border-radius:6px}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1rem}.card img{width:100%;image-rendering:pixelated}.card video{width:100%;border-radius:6px}.good{color:#1a7f37}.bad{color:#cf222e}
"""


_PLAY = """<script>{const play=new IntersectionObserver(all=>all.forEach(e=>{
if(e.isIntersecting)e.target.play().catch(()=>0);else e.target.pause()}));
document.querySelectorAll("video").forEach(v=>play.observe(v))}</script>"""


def new_figure(
    columns: int = 1, rows: int = 1, width: float = 6.0, height: float = 3.6
) -> tuple[Figure, list[Axes]]:
    """A figure with quiet axes; independent of any global plotting state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
        ax.set_axisbelow(True)
    return figure, axes


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as PNG bytes, without a date inside (same data, same bytes)."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def img(data: bytes, alt: str) -> str:
    """An <img> with the PNG inside."""
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def video(data: bytes, alt: str) -> str:
    """A <video> with the MP4 inside; it starts by itself, without sound, and repeats."""
    source = f"data:video/mp4;base64,{base64.b64encode(data).decode()}"
    return f'<video controls autoplay loop muted playsinline aria-label="{html.escape(alt)}" src="{source}"></video>'


def cards(inside: str, width: int = 290) -> str:
    """Cards side by side, as many in a row as fit; on a narrow screen one.

    Args:
        inside: each as ``<div class=card>...</div>``.
        width: the least of a card, CSS pixels.
    """
    columns = f"repeat(auto-fill,minmax(min(100%,{width}px),1fr))"
    return f'<div class=cards style="grid-template-columns:{columns}">{inside}</div>'


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """An HTML table; columns from the first row."""
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(str(k))}</th>" for k in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(v))}</td>" for v in r.values()) + "</tr>" for r in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def page(title: str, body: str) -> str:
    """A whole self-contained page (no outside request); its videos play while they are on the screen."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{html.escape(title)}</title>'
        f"<style>{PAGE_CSS}</style><body><h1>{html.escape(title)}</h1>{body}"
        f"{_PLAY if '<video' in body else ''}</body></html>\n"
    )


def picture_rows(rows: Sequence[tuple[str, Sequence[Any]]], columns: Sequence[str] = ()) -> bytes:
    """Rows of pictures, each with its name at the left, as a PNG.

    Args:
        rows: name and the same number of pictures (H, W, 3) uint8 each.
        columns: names above the first row.
    """
    count = len(rows[0][1])
    figure, axes = new_figure(count, len(rows), 1.3, 1.3)
    for k, ax in enumerate(axes):
        name, pictures = rows[k // count]
        ax.imshow(pictures[k % count], interpolation="bilinear")
        ax.grid(False)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        if k % count == 0:
            ax.set_ylabel(name, fontsize=9)
        if k < len(columns):
            ax.set_title(columns[k], fontsize=9)
    return png(figure)


_VIEWER = Template("""<figure class=mesh><canvas width=480 height=480 style="width:100%;max-width:480px;aspect-ratio:1;touch-action:none;cursor:grab"
 role=img aria-label="$title"></canvas><figcaption>$title <span class=muted>drag: turn, wheel: nearer</span></figcaption>
<script>(()=>{
const canvas=document.currentScript.parentElement.querySelector("canvas");
const gl=canvas.getContext("webgl2",{antialias:true});
if(!gl){canvas.outerHTML="<p class=muted>This browser has no WebGL 2; open the mesh file instead.</p>";return}
const bytes=s=>Uint8Array.from(atob(s),c=>c.charCodeAt(0)).buffer;
const q=new Uint16Array(bytes("$positions")),rgb=new Uint8Array(bytes("$colors")),f=new $index(bytes("$faces"));
const p=Float32Array.from(q,v=>v/32767.5-1),n=new Float32Array(p.length);
for(let t=0;t<f.length;t+=3){
 const a=3*f[t],b=3*f[t+1],c=3*f[t+2];
 const u=[0,1,2].map(k=>p[b+k]-p[a+k]),v=[0,1,2].map(k=>p[c+k]-p[a+k]);
 const w=[u[1]*v[2]-u[2]*v[1],u[2]*v[0]-u[0]*v[2],u[0]*v[1]-u[1]*v[0]];
 for(const i of [a,b,c])for(let k=0;k<3;k++)n[i+k]+=w[k]}
const program=gl.createProgram();
const add=(kind,text)=>{const s=gl.createShader(kind);gl.shaderSource(s,"#version 300 es\\n"+text);
 gl.compileShader(s);gl.attachShader(program,s)};
add(gl.VERTEX_SHADER,`in vec3 p,n,c;uniform vec2 angle;uniform float zoom;out vec3 normal,color;
vec3 turn(vec3 v){vec2 s=sin(angle),k=cos(angle);v=vec3(k.x*v.x+s.x*v.z,v.y,k.x*v.z-s.x*v.x);
return vec3(v.x,k.y*v.y-s.y*v.z,s.y*v.y+k.y*v.z);}
void main(){normal=turn(n);color=c;vec3 v=turn(p)*zoom;gl_Position=vec4(v.xy,-v.z/9.,1.);}`);
add(gl.FRAGMENT_SHADER,`precision mediump float;in vec3 normal,color;out vec4 o;
void main(){float d=dot(normalize(normal),normalize(vec3(-.35,.55,.76)));
o=vec4(pow(pow(color,vec3(2.2))*(.5+.5*max(d,-.8)),vec3(.4545)),1.);}`);
gl.linkProgram(program);gl.useProgram(program);
const put=(name,data,kind,norm)=>{const at=gl.getAttribLocation(program,name);
 gl.bindBuffer(gl.ARRAY_BUFFER,gl.createBuffer());gl.bufferData(gl.ARRAY_BUFFER,data,gl.STATIC_DRAW);
 gl.enableVertexAttribArray(at);gl.vertexAttribPointer(at,3,kind,norm,0,0)};
put("p",p,gl.FLOAT,false);put("n",n,gl.FLOAT,false);put("c",rgb,gl.UNSIGNED_BYTE,true);
gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER,gl.createBuffer());gl.bufferData(gl.ELEMENT_ARRAY_BUFFER,f,gl.STATIC_DRAW);
gl.enable(gl.DEPTH_TEST);
let yaw=0,pitch=0,zoom=1,held=null,last=0,alone=!matchMedia("(prefers-reduced-motion:reduce)").matches,asked=false,seen=false;
const at=name=>gl.getUniformLocation(program,name);
const show=now=>{asked=false;
 if(alone&&seen){yaw+=Math.min(now-last,100)*6e-4;ask()}
 last=now;
 gl.clearColor(0,0,0,0);gl.clear(gl.COLOR_BUFFER_BIT|gl.DEPTH_BUFFER_BIT);
 gl.uniform2f(at("angle"),yaw,pitch);gl.uniform1f(at("zoom"),zoom);
 gl.drawElements(gl.TRIANGLES,f.length,f instanceof Uint16Array?gl.UNSIGNED_SHORT:gl.UNSIGNED_INT,0)};
const ask=()=>{if(!asked){asked=true;requestAnimationFrame(show)}};
new IntersectionObserver(all=>{seen=all[0].isIntersecting;if(seen)ask()}).observe(canvas);
canvas.onpointerdown=e=>{alone=false;held=[e.clientX,e.clientY];canvas.setPointerCapture(e.pointerId)};
canvas.onpointerup=canvas.onpointercancel=()=>{held=null};
canvas.onpointermove=e=>{if(!held)return;yaw+=(e.clientX-held[0])*.01;
 pitch=Math.max(-1.5,Math.min(1.5,pitch+(e.clientY-held[1])*.01));held=[e.clientX,e.clientY];ask()};
canvas.addEventListener("wheel",e=>{e.preventDefault();alone=false;
 zoom=Math.max(.5,Math.min(8,zoom*Math.exp(-e.deltaY*.001)));ask()},{passive:false});
ask()})()</script></figure>""")


def mesh_viewer(vertices: Any, faces: Any, colors: Any, title: str) -> str:
    """A mesh that can be turned, with WebGL 2 and without any outside request.

    Positions are kept in 16 bits of the longest side of the box: 28 bytes of text a vertex of a closed mesh
    with up to 65,535 vertices, 44 above. O(V + T).

    Args:
        vertices: (V, 3) array, y up; shown from +z.
        faces: (T, 3) integers, counter-clockwise.
        colors: (V, 3) sRGB in [0, 1].
        title: below it.

    Raises:
        ShapeError: arrays that do not fit together.
    """
    import numpy as np

    v, f, c = np.asarray(vertices, np.float64), np.asarray(faces), np.asarray(colors, np.float64)
    if v.ndim != 2 or v.shape[1] != 3 or not len(v) or c.shape != v.shape or f.ndim != 2 or f.shape[1] != 3:
        raise ShapeError(
            f"a viewer needs vertices (V, 3), faces (T, 3) and colors (V, 3), got {v.shape}, {f.shape} and"
            f" {c.shape}"
        )
    if len(f) and not 0 <= f.min() <= f.max() < len(v):
        raise ShapeError(f"faces point at vertices outside 0 .. {len(v) - 1}")
    middle = 0.5 * (v.min(0) + v.max(0))
    reach = float(np.linalg.norm(v - middle, axis=1).max()) or 1.0
    small = len(v) < 65536  # 65535 ends a strip in WebGL 2
    parts = {
        "positions": np.rint(((v - middle) / reach + 1) * 32767.5).astype("<u2"),
        "colors": np.rint(255 * c.clip(0, 1)).astype(np.uint8),
        "faces": f.astype("<u2" if small else "<u4"),
    }
    encoded = {name: base64.b64encode(array.tobytes()).decode() for name, array in parts.items()}
    kind = "Uint16Array" if small else "Uint32Array"
    return _VIEWER.substitute(encoded, index=kind, title=html.escape(title))
